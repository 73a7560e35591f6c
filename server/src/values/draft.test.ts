import { CacheError } from "@frontcache/proto";
import { describe, expect, it } from "vitest";
import { patterned } from "../testing/value-samples.js";
import { Draft, type DraftOptions } from "./draft.js";
import { entryOf } from "./value-entry.js";
import { WriteMemory } from "./write-memory.js";

const SEGMENT_BYTES = 1_000;
const URL = "cache://bucket/k";

/** A draft whose stored segments are in memory. `before` may fail a write of a segment. */
function draftOf({ size, isUpload }: { size: number; isUpload: boolean }, before: (segment: number) => void = () => {}) {
  const stored = new Map<number, Buffer>();
  const memory = new WriteMemory();
  const blocks: DraftOptions["blocks"] = {
    geometry: { blockBytes: 4 * SEGMENT_BYTES, segmentBytes: SEGMENT_BYTES },
    write: async (_url, _stored, block, _length, segment, bytes) => {
      before(segment);
      stored.set(4 * block + segment, Buffer.from(bytes));
    },
    drop: async () => {},
    pinWritten: () => undefined,
    remove: async () => {},
  };
  const entry = entryOf({ url: URL, version: "1", size, nowMs: 0 }, {}, 0);
  const how = { isSized: true, isUpload, isCopy: false, isExclusive: false, members: [] };
  const draft = new Draft({ entry, ...how, blocks, memory, nowMs: () => 0 });
  const bytes = (): Buffer => Buffer.concat([...stored].sort(([a], [b]) => a - b).map(([, each]) => each));
  return { draft, memory, bytes };
}

describe("a value that is being written", () => {
  it("stores segments that come whole without memory of its own, and gathers the others in it", async () => {
    const { draft, memory, bytes } = draftOf({ size: 3_500, isUpload: false }, () => expect(memory.bytes).toBe(0));
    const body = patterned(3_500);
    expect(await draft.writeAll(0, body)).toBe(3_500);
    expect(bytes().equals(body)).toBe(true);
    const other = draftOf({ size: 1_500, isUpload: false });
    await other.draft.write(0, body.subarray(0, 600));
    expect(other.memory.bytes).toBe(1_000);
    await other.draft.write(600, body.subarray(600, 1_500));
    expect(other.memory.bytes).toBe(0);
    expect(other.bytes().equals(body.subarray(0, 1_500))).toBe(true);
  });

  it("can be read while a segment that came whole is being stored", async () => {
    const reads: Promise<Buffer | undefined>[] = [];
    const { draft } = draftOf({ size: 1_000, isUpload: false }, () => void reads.push(draft.segments.read(100, 50)));
    const body = patterned(1_000);
    await draft.write(0, body);
    expect((await reads[0])?.equals(body.subarray(100, 150))).toBe(true);
  });

  it("keeps a segment that could not be stored, and takes later bytes of it without a change of the body's memory", async () => {
    let isFailing = true;
    const { draft, memory, bytes } = draftOf({ size: 1_000, isUpload: true }, () => {
      if (isFailing) throw new CacheError("RESOURCE_EXHAUSTED", "no space");
    });
    const body = patterned(1_000);
    await expect(draft.writeAll(0, body)).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED" });
    isFailing = false;
    await draft.writeAll(300, Buffer.alloc(200, 9));
    await draft.finish(1_000);
    expect(body.equals(patterned(1_000))).toBe(true);
    expect(bytes().equals(Buffer.concat([body.subarray(0, 300), Buffer.alloc(200, 9), body.subarray(500)]))).toBe(true);
    expect(memory.bytes).toBe(0);
  });

  it("misses the bytes of a stored segment that is lost, until they are written again", async () => {
    const { draft, memory, bytes } = draftOf({ size: 2_000, isUpload: true });
    const body = patterned(2_000);
    await draft.writeAll(0, body);
    // The block store of this test has no block that can be read.
    await expect(draft.writeAll(300, Buffer.alloc(200, 9))).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(draft.segments.spans.missing(2_000)).toEqual([{ start: 0, end: 2_000 }]);
    expect([draft.writes.count, memory.bytes]).toEqual([1, 0]);
    await draft.writeAll(0, body);
    expect(draft.segments.spans.missing(2_000)).toEqual([]);
    await draft.finish(2_000);
    expect(bytes().equals(body)).toBe(true);
    expect(draft.writes.count).toBe(2);
  });
});
