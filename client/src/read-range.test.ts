import { CacheError } from "@frontcache/proto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { LocalReads } from "./local/local-reads.js";
import type { BufferLanding } from "./members/block-landing.js";
import { type RequestedRange, readRange } from "./read-range.js";
import { ramp } from "./testing/ramp.js";
import { ReadSetting } from "./testing/read-setting.js";

const passing = new CacheError("UNAVAILABLE", "the origin is down");
const wrong = new CacheError("INTERNAL", "wrong");

function setUp(size: number) {
  const setting = new ReadSetting({ version: "v1", size });
  const read = (range: Partial<RequestedRange>, parallelBlocks = 3) =>
    setting.clock.run(
      readRange(
        { url: setting.url, offset: 0, length: size, version: "", ...range },
        { ...setting.with, parallelBlocks },
        setting.call,
      ),
    );
  return { ...setting, setting, read };
}

describe("reading a range", () => {
  it("returns exactly the object's bytes, for any range, with or without a version, through interrupted responses", async () => {
    const range = { offset: fc.nat(60), length: fc.integer({ min: 1, max: 80 }), version: fc.constantFrom("", "v1") };
    const breaks = fc.array(fc.option(fc.nat(8)), { maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(fc.record(range), fc.integer({ min: 61, max: 90 }), breaks, async (requested, size, breaksAt) => {
        const { read, transport, call, clock } = setUp(size);
        transport.onRead = (_, count) => {
          const afterBytes = breaksAt[count - 1];
          return afterBytes === undefined || afterBytes === null ? undefined : { afterBytes, error: passing };
        };
        const bytes = await read(requested);
        expect(bytes.equals(ramp(requested.offset, Math.min(requested.length, size - requested.offset)))).toBe(true);
        expect(transport.running).toBe(0);
        call.end();
        expect(clock.waits).toBe(0);
      }),
      { numRuns: 60 },
    );
  });

  it("may end before writes into its own buffer, and never before writes into the caller's", async () => {
    const { setting, url, call } = setUp(80);
    const left: boolean[] = [];
    const read = async ({ mayBeLeft }: BufferLanding): Promise<boolean> => !left.push(mayBeLeft);
    const using = { ...setting.with, local: { read } as unknown as LocalReads, parallelBlocks: 1 };
    for (const memory of [undefined, Buffer.alloc(10)]) {
      await readRange({ url, offset: 0, length: 10, version: "v1", memory }, using, call);
    }
    expect(left).toEqual([true, true, false, false]);
  });

  it("requests the blocks of a known version concurrently, up to the limit", async () => {
    const { read, transport } = setUp(80);
    await read({ version: "v1" }, 4);
    expect(transport.reads.length).toBe(10);
    expect(transport.mostRunning).toBe(4);
  });

  it("requests the other blocks with the version of the first block's response", async () => {
    const { read, transport } = setUp(80);
    await read({});
    expect(transport.reads.map(({ version }) => version)).toEqual(["", ...Array<string>(9).fill("v1")]);
  });

  it("requests nothing past the object's end once the end is known", async () => {
    const { read, transport } = setUp(20);
    const length = Number.MAX_SAFE_INTEGER - 4;
    expect((await read({ offset: 4, length, version: "v1" })).equals(ramp(4, 16))).toBe(true);
    expect(transport.reads.map(({ offset }) => offset)).toEqual([4, 8, 16]);
  });

  it("returns fewer bytes at the object's end, even if blocks past it were requested", async () => {
    const { read } = setUp(20);
    expect((await read({ length: 60, version: "v1" }, 8)).equals(ramp(0, 20))).toBe(true);
  });

  it.each(["", "v1"])("fails with OUT_OF_RANGE if the object ends before the range (version %j)", async (version) => {
    for (const offset of [20, 21, 32]) {
      await expect(setUp(20).read({ offset, version })).rejects.toMatchObject({ code: "OUT_OF_RANGE" });
    }
    await expect(setUp(0).read({ length: 5, version })).rejects.toMatchObject({ code: "OUT_OF_RANGE" });
  });

  it("restarts once if the object is overwritten meanwhile", async () => {
    const { read, transport } = setUp(40);
    transport.onRead = (_, count) => {
      if (count === 3) transport.object = { version: "v2", size: 32 };
      return undefined;
    };
    expect((await read({})).equals(ramp(0, 32))).toBe(true);
  });

  it("fails if the object is overwritten a second time", async () => {
    const { read, transport } = setUp(40);
    let overwritten = 1;
    transport.onRead = ({ version }) => {
      if (version !== "") transport.object = { version: `v${++overwritten}`, size: 40 };
      return undefined;
    };
    await expect(read({})).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
    expect(transport.reads.filter(({ version }) => version === "").length).toBe(2);
  });

  it("does not restart if the caller gave the version", async () => {
    const { read, transport } = setUp(40);
    await expect(read({ version: "v0" })).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
    expect(transport.reads.filter(({ offset }) => offset === 0).length).toBe(1);
  });

  it("rejects a response of another version, retries once elsewhere, and returns none of its bytes", async () => {
    const { read, transport } = setUp(8);
    transport.onRead = (_, count) => (count === 1 ? { version: "v9" } : undefined);
    expect((await read({ version: "v1" })).equals(ramp(0, 8))).toBe(true);
    expect(transport.reads.map(({ address }) => address)).toEqual(["a:1", "b:1"]);

    const stubborn = setUp(8);
    stubborn.transport.onRead = () => ({ version: "v9" });
    await expect(stubborn.read({ version: "v1" })).rejects.toMatchObject({ code: "INTERNAL" });
    expect(stubborn.transport.reads.length).toBe(2);
  });

  it("reads a block again after a response that was too short", async () => {
    const { read, transport } = setUp(8);
    transport.onRead = (_, count) => (count === 1 ? { afterBytes: 5 } : undefined);
    expect((await read({})).equals(ramp(0, 8))).toBe(true);
    expect(transport.reads.map(({ offset, version }) => [offset, version])).toEqual([
      [0, ""],
      [0, "v1"],
    ]);
  });

  it("resumes after the last received byte when a response is interrupted", async () => {
    const { read, transport } = setUp(8);
    transport.onRead = (_, count) => (count === 1 ? { afterBytes: 5, error: passing } : undefined);
    expect((await read({})).equals(ramp(0, 8))).toBe(true);
    expect(transport.reads.map(({ offset, length, version }) => [offset, length, version])).toEqual([
      [0, 8, ""],
      [5, 3, "v1"],
    ]);
  });

  it("accepts a response that failed after its last byte", async () => {
    const { read, transport } = setUp(8);
    transport.onRead = () => ({ afterBytes: 8, error: passing });
    expect((await read({})).equals(ramp(0, 8))).toBe(true);
    expect(transport.reads.length).toBe(1);
  });

  it("aborts the other blocks before it rejects when one fails", async () => {
    const { setting, transport, clock } = setUp(80);
    const never = new Promise<void>(() => undefined);
    transport.onRead = ({ offset }) => (offset === 16 ? { error: new CacheError("NOT_FOUND", "gone") } : { gate: never });
    const range = { url: setting.url, offset: 0, length: 80, version: "v1" };
    const failed = readRange(range, { ...setting.with, parallelBlocks: 3 }, setting.call).catch((error: unknown) => {
      expect(error).toMatchObject({ code: "NOT_FOUND" });
      return { stillRunning: transport.running };
    });
    expect(await clock.run(failed)).toEqual({ stillRunning: 0 });
    expect(transport.reads.length).toBe(3);
    expect(clock.monotonicMs()).toBe(0);
  });

  it("ends with the deadline if no response arrives", async () => {
    const { read, transport } = setUp(80);
    transport.onRead = () => ({ gate: new Promise(() => undefined) });
    await expect(read({})).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    expect(transport.running).toBe(0);
  });

  it("suggests a stream if the bytes do not fit into a Buffer", async () => {
    const { read } = setUp(2 ** 50);
    await expect(read({ length: 2 ** 50 })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringContaining("read them by stream"),
    });
  });

  it("fails with the error of an invalid response if it occurs twice", async () => {
    const { read, transport } = setUp(8);
    transport.onRead = () => ({ error: wrong });
    await expect(read({})).rejects.toBe(wrong);
  });
});
