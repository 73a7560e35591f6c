import fs, { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BlockId, CacheError } from "@frontcache/proto";
import { ManualClock } from "@frontcache/proto/testing";
import fc from "fast-check";
import { afterEach, describe, expect, it, vi } from "vitest";
import { BufferLanding, PinnedObject } from "../members/block-landing.js";
import { RunningCall } from "../members/running-call.js";
import { BlockFileWriter } from "../testing/block-file-writer.js";
import { ramp } from "../testing/ramp.js";
import { LocalReads } from "./local-reads.js";

const SEGMENT = 8 << 10;
const geometry = { blockBytes: 8 * SEGMENT, segmentBytes: SEGMENT };
const id: BlockId = { url: "s3://bucket/file", version: "v1", offset: geometry.blockBytes };
/** The second block is the last one, and its last segment is short. */
const objectSize = 2 * geometry.blockBytes - 100;
const blockBytes = objectSize - id.offset;
const ALL = [0, 1, 2, 3, 4, 5, 6, 7];

const cleanups: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function setUp() {
  const volume = mkdtempSync(join(tmpdir(), "frontcache-local-"));
  const clock = new ManualClock(0);
  const reported: (readonly BlockId[])[] = [];
  const local = new LocalReads({
    clock,
    volumes: [`${volume}/none`, volume],
    verification: "first-read",
    report: async (uses) => void reported.push(uses),
  });
  cleanups.push(
    () => rmSync(volume, { recursive: true }),
    () => local.close(),
  );
  const cached = (of: BlockId, ...segments: readonly number[]): BlockFileWriter => {
    const writer = new BlockFileWriter(volume, of, objectSize, geometry);
    writer.addSegments(...segments);
    cleanups.push(() => writer.close());
    return writer;
  };
  const call = new RunningCall({ clock, subject: id.url });
  /** A call with a deadline. */
  const limitTo = (deadlineMs: number): RunningCall => {
    const limited = new RunningCall({ clock, subject: id.url, deadlineMs });
    cleanups.push(() => limited.end());
    return limited;
  };
  /** Reads a range of the block; the bytes that landed, undefined where not all did. Rejects at a byte that is wrong. */
  const read = async (
    start: number,
    end: number,
    version = id.version,
    own = true,
    limits = call,
  ): Promise<Buffer | undefined> => {
    const into = Buffer.alloc(end - start, 0xee);
    const landing = new BufferLanding(
      { blockOffset: id.offset, offset: id.offset + start, length: end - start },
      { pinned: new PinnedObject(id.url, version), place: (bytes) => into.subarray(0, bytes), mayBeLeft: own },
    );
    const isWhole = await local.read(landing, geometry, limits);
    const bytes = into.subarray(0, landing.landedBytes);
    if (!bytes.equals(ramp(id.offset + start, bytes.length))) throw new Error(`wrong bytes from ${start}`);
    return isWhole ? bytes : undefined;
  };
  return { volume, clock, local, reported, cached, read, call, limitTo };
}

/** Makes all calls of one kind hang, except on the disk `none`, until `answer` is called. */
function hang(kind: "open" | "read") {
  const delayed: (() => void)[] = [];
  let begin!: () => void;
  const hangs = new Promise<void>((resolve) => {
    begin = resolve;
  });
  const call = fs[kind] as (...args: unknown[]) => void;
  const spy = vi.spyOn(fs, kind).mockImplementation(((...args: unknown[]): void => {
    if (String(args[0]).includes("/none/")) call(...args);
    else delayed.push(() => call(...args));
    if (delayed.length > 0) begin();
  }) as never);
  const answer = (): void => {
    spy.mockRestore();
    for (const later of delayed.splice(0)) later();
  };
  cleanups.push(answer);
  return { hangs, answer };
}

describe("reads of block files on this host", () => {
  it("return the correct bytes of any range, the first time and again", async () => {
    const { cached, read, local } = setUp();
    cached(id, ...ALL);
    const range = fc.tuple(fc.nat(blockBytes - 1), fc.integer({ min: 1, max: geometry.blockBytes }));
    await fc.assert(
      fc.asyncProperty(range, async ([start, length]) => {
        const bytes = await read(start, start + length);
        expect(bytes?.length).toBe(Math.min(length, blockBytes - start));
      }),
      { numRuns: 300 },
    );
    expect(local.report).toMatchObject({ reads: 300, openFiles: 1 });
  });

  it("are not used without a version, without a file, for another version, or past the object's end", async () => {
    const { cached, read, local } = setUp();
    cached(id, ...ALL);
    expect(await read(0, 10, "")).toBeUndefined();
    expect(await read(0, 10, "v2")).toBeUndefined();
    expect(await read(blockBytes, blockBytes + 10)).toBeUndefined();
    expect(local.report).toEqual({ reads: 0, bytes: 0, openFiles: 1 });
  });

  it.each<[string, (writer: BlockFileWriter) => void]>([
    ["of another object", (writer) => writer.writeFooter({ url: "s3://bucket/other" })],
    ["of another version", (writer) => writer.writeFooter({ version: "v2" })],
    ["of another block", (writer) => writer.writeFooter({ offset: 0 })],
    ["with a damaged footer", (writer) => writer.overwrite(geometry.blockBytes + 9, Buffer.from("x"))],
    ["cut short", (writer) => writer.cutShort(geometry.blockBytes)],
  ])("are none where the file is one %s", async (_, damage) => {
    const { cached, read, local } = setUp();
    damage(cached(id, ...ALL));
    expect(await read(0, 10)).toBeUndefined();
    expect(local.report.openFiles).toBe(0);
  });

  it("use segments that the member adds later, and no missing segments", async () => {
    const { cached, read } = setUp();
    const writer = cached(id, 1, 2);
    expect((await read(SEGMENT, 3 * SEGMENT))?.length).toBe(2 * SEGMENT);
    writer.writeSegment(3);
    expect(await read(3 * SEGMENT - 5, 3 * SEGMENT + 5)).toBeUndefined();
    writer.writeFooter();
    expect((await read(3 * SEGMENT - 5, 3 * SEGMENT + 5))?.length).toBe(10);
    expect(await read(0, SEGMENT)).toBeUndefined();
  });

  it.each([
    ["a whole segment of it", 2 * SEGMENT, 3 * SEGMENT],
    ["a part of it", 2 * SEGMENT + 10, 2 * SEGMENT + 20],
    ["all of the block", 0, blockBytes],
  ])("verify each segment's CRC before %s", async (_, start, end) => {
    const { cached, read, clock } = setUp();
    const writer = cached(id, ...ALL);
    writer.overwrite(2 * SEGMENT + 77, Buffer.from("x"));
    expect(await read(start, end)).toBeUndefined();
    // The file is left alone for a moment, for its member to find out.
    writer.addSegments(2);
    expect(await read(0, 10)).toBeUndefined();
    clock.advance(1_000);
    expect((await read(start, end))?.length).toBe(end - start);
  });

  it("use no byte of a dropped segment, even if it was hot", async () => {
    const { cached, read, clock } = setUp();
    const writer = cached(id, ...ALL);
    for (let again = 0; again < 2; again++) expect((await read(0, 100))?.length).toBe(100);
    writer.drop(0);
    writer.writeFooter();
    writer.overwrite(0, Buffer.alloc(SEGMENT));
    expect(await read(0, 100)).toBeUndefined();
    // Fetched again: the footer holds it as before, but what was known of the file before is void.
    clock.advance(1_000);
    writer.addSegments(0);
    expect((await read(0, 100))?.length).toBe(100);
  });

  it("never return a wrong byte while the member changes the file", async () => {
    const { cached, read, clock } = setUp();
    const writer = cached(id, ...ALL);
    const step = fc.oneof(
      fc.record({
        kind: fc.constant("read" as const),
        start: fc.nat(blockBytes - 1),
        length: fc.integer({ min: 1, max: 3 * SEGMENT }),
      }),
      fc.record({ kind: fc.constantFrom("give up" as const, "fetch" as const, "wait" as const), segment: fc.nat(7) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 30 }), async (steps) => {
        const reads: Promise<unknown>[] = [];
        for (const next of steps) {
          // Reads run on while the member works: it takes the order that members take.
          if (next.kind === "read") reads.push(read(next.start, Math.min(blockBytes, next.start + next.length)));
          else if (next.kind === "wait") {
            clock.advance(1_000);
            await new Promise((resolve) => setImmediate(resolve));
          } else if (next.kind === "fetch") writer.addSegments(next.segment);
          else {
            writer.drop(next.segment);
            writer.writeFooter();
            writer.overwrite(next.segment * SEGMENT, Buffer.alloc(Math.min(SEGMENT, blockBytes - next.segment * SEGMENT)));
          }
        }
        await Promise.all(reads);
      }),
      { numRuns: 200 },
    );
  });

  it("close the file of an evicted block soon, read or not", async () => {
    const { cached, read, clock, local } = setUp();
    const [used, unused] = [cached(id, ...ALL), cached({ ...id, version: "v2" }, ...ALL)];
    expect([(await read(0, 10))?.length, (await read(0, 10, "v2"))?.length]).toEqual([10, 10]);
    used.evict();
    unused.evict();
    clock.advance(1_001);
    expect(await read(0, 10)).toBeUndefined();
    clock.advance(1_000);
    await expect.poll(() => local.report.openFiles).toBe(0);
    expect(clock.waits).toBe(1);
  });

  it("keep a bounded number of files open, and close unused files", async () => {
    const { cached, read, clock, local } = setUp();
    for (let version = 0; version < 300; version++) {
      cached({ ...id, version: `v${version}` }, 0);
      expect((await read(0, 10, `v${version}`))?.length).toBe(10);
    }
    await expect.poll(() => local.report.openFiles).toBe(256);
    clock.advance(40_000);
    await expect.poll(() => local.report.openFiles).toBe(0);
  });

  it("end when their call ends", async () => {
    const { cached, read, call, local } = setUp();
    cached(id, ...ALL);
    const reading = read(0, blockBytes);
    call.abort(new CacheError("CANCELLED", "enough"));
    await expect(reading).rejects.toThrow("enough");
    expect(await read(0, 10)).toBeUndefined();
    await local.close();
    expect(local.report.openFiles).toBe(0);
  });

  it.each<[string, "open" | "read", (writer: BlockFileWriter) => [start: number, end: number]]>([
    ["while their file is opened", "open", () => [0, 10]],
    ["while its footer is read", "read", () => [0, 10]],
    [
      "while its footer is read again",
      "read",
      (writer) => {
        writer.writeSegment(3);
        return [3 * SEGMENT, 4 * SEGMENT];
      },
    ],
    ["while a segment is checked", "read", () => [SEGMENT, SEGMENT + 10]],
    ["while all is read", "read", () => [0, 3 * SEGMENT]],
  ])("end with their call on a disk that hangs %s, which is left alone until it answers", async (when, call, prepare) => {
    const { clock, cached, read, local, limitTo } = setUp();
    const writer = cached(id, 0, 1, 2);
    const isFirst = call === "open" || when === "while its footer is read";
    if (!isFirst) await read(2 * SEGMENT, 3 * SEGMENT);
    const [start, end] = prepare(writer);
    const disk = hang(call);
    const limited = limitTo(100);
    const reading = read(start, end, id.version, true, limited);
    await disk.hangs;
    clock.advance(100);
    await expect(reading).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    expect(await read(0, 10, "v2")).toBeUndefined();
    if (!isFirst) expect(await read(2 * SEGMENT, 2 * SEGMENT + 10)).toBeUndefined();
    disk.answer();
    await expect.poll(async () => (await read(2 * SEGMENT, 2 * SEGMENT + 10))?.length).toBe(10);
    await local.close();
    expect([local.report.openFiles, clock.waits]).toEqual([0, 0]);
  });

  it("into the caller's buffer end only when the disk has answered, because the kernel writes into it until then", async () => {
    const { clock, cached, read, limitTo } = setUp();
    cached(id, ...ALL);
    await read(0, SEGMENT);
    const disk = hang("read");
    let isOver = false;
    const reading = read(0, blockBytes, id.version, false, limitTo(100)).finally(() => {
      isOver = true;
    });
    await disk.hangs;
    clock.advance(100);
    await new Promise((resolve) => setImmediate(resolve));
    expect(isOver).toBe(false);
    disk.answer();
    await expect(reading).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
  });

  it("are reported in batches, each block once, and the last ones at closing", async () => {
    const { cached, read, clock, reported, local } = setUp();
    cached(id, ...ALL);
    for (let times = 0; times < 5; times++) await read(0, 10);
    expect(reported).toEqual([]);
    clock.advance(5_000);
    await expect.poll(() => reported).toEqual([[id]]);
    await read(0, 10);
    await local.close();
    expect([reported, clock.waits]).toEqual([[[id], [id]], 0]);
  });
});
