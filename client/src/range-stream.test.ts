import { once } from "node:events";
import { CacheError } from "@frontcache/proto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { RangeStream, type StreamedRange } from "./range-stream.js";
import { ramp } from "./testing/ramp.js";
import { ReadSetting } from "./testing/read-setting.js";

/** Longer than all back-offs of a read together. */
const DEADLINE_MS = 60_000;

function setUp(size: number, range: Partial<StreamedRange> = {}, reuse = false) {
  const setting = new ReadSetting({ version: "v1", size });
  const whole = { url: setting.url, offset: 0, length: undefined, version: "" };
  const using = { ...setting.with, streamBlocks: 3, deadlineMs: DEADLINE_MS, reuse };
  const stream = new RangeStream({ ...whole, ...range }, using, setting.call);
  const collect = async (): Promise<Buffer> => Buffer.concat(await stream.toArray());
  return { ...setting, stream, bytes: () => setting.clock.run(collect()) };
}

describe("a stream of a range", () => {
  it("yields exactly the object's bytes in order, for any range, through interrupted responses", async () => {
    const range = {
      offset: fc.nat(60),
      length: fc.option(fc.integer({ min: 1, max: 80 }), { nil: undefined }),
      version: fc.constantFrom("", "v1"),
    };
    const breaks = fc.array(fc.option(fc.nat(8)), { maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(fc.record(range), fc.integer({ min: 61, max: 90 }), breaks, async (requested, size, breaksAt) => {
        const { bytes, transport, clock } = setUp(size, requested);
        transport.onRead = (_, count) => {
          const afterBytes = breaksAt[count - 1];
          const error = new CacheError("UNAVAILABLE", "the origin is down");
          return afterBytes === undefined || afterBytes === null ? undefined : { afterBytes, error };
        };
        const expected = ramp(requested.offset, Math.min(requested.length ?? size, size - requested.offset));
        expect((await bytes()).equals(expected)).toBe(true);
        expect(transport.running).toBe(0);
        expect(clock.waits).toBe(0);
      }),
      { numRuns: 60 },
    );
  });

  it("reuses buffers if allowed, and never that of a chunk which the consumer still uses", async () => {
    const { stream } = setUp(803, {}, true);
    const places = new Set<string>();
    const ids = new Map<ArrayBufferLike, number>();
    const looked = async (): Promise<number> => {
      let at = 0;
      for await (const piece of stream) {
        // What lands next has time to land in the wrong place.
        for (let iteration = 0; iteration < 3; iteration++) await new Promise((resolve) => setImmediate(resolve));
        expect(piece.equals(ramp(at, piece.length))).toBe(true);
        const id = ids.get(piece.buffer) ?? ids.size;
        ids.set(piece.buffer, id);
        places.add(`${id}:${piece.byteOffset}`);
        at += piece.length;
      }
      return at;
    };
    expect(await looked()).toBe(803);
    // Two pieces a block; three blocks under way, one that is looked at, one that has just been.
    expect(places.size).toBeLessThanOrEqual(2 * 5);
  });

  it("yields no bytes and no error for a whole empty object", async () => {
    expect((await setUp(0).bytes()).length).toBe(0);
    await expect(setUp(0, { length: 1 }).bytes()).rejects.toMatchObject({ code: "OUT_OF_RANGE" });
    await expect(setUp(8, { offset: 8 }).bytes()).rejects.toMatchObject({ code: "OUT_OF_RANGE" });
  });

  it("requests nothing before it is read, and reads ahead a bounded number of blocks", async () => {
    const { stream, transport, clock } = setUp(800);
    expect(transport.reads.length).toBe(0);
    await clock.run(once(stream, "readable"));
    await new Promise((resolve) => setImmediate(resolve));
    expect(stream.readableLength).toBe(4);
    expect(transport.reads.map(({ offset }) => offset)).toEqual([0, 8, 16]);
    stream.destroy();
    await once(stream, "close");
  });

  it("aborts the reads when the consumer leaves the loop", async () => {
    const { stream, transport, call, clock } = setUp(80);
    transport.onRead = ({ offset }) => (offset === 0 ? undefined : { gate: new Promise(() => undefined) });
    const closed = new Promise((resolve) => stream.once("close", resolve));
    for await (const piece of stream) {
      expect(piece).toEqual(ramp(0, 4));
      break;
    }
    await closed;
    expect(transport.running).toBe(0);
    expect(call.signal.aborted).toBe(true);
    expect(clock.waits).toBe(0);
  });

  it("aborts the reads when it is destroyed while it waits, and closes only after they ended", async () => {
    const { stream, transport } = setUp(80);
    transport.onRead = () => ({ gate: new Promise(() => undefined) });
    stream.resume();
    await new Promise((resolve) => setImmediate(resolve));
    expect(transport.running).toBe(1);
    stream.destroy();
    await once(stream, "close");
    expect(transport.running).toBe(0);
  });

  it("fails with CANCELLED when its call is aborted, before or after the start", async () => {
    const { stream, call } = setUp(80);
    const failed = once(stream, "error");
    call.abort(new CacheError("CANCELLED", "enough"));
    expect(await failed).toMatchObject([{ code: "CANCELLED", message: "enough" }]);
  });

  it("fails with a later block's error only after the bytes before it", async () => {
    const { stream, transport, clock } = setUp(80);
    transport.onRead = ({ offset }) =>
      offset === 16 ? { error: new CacheError("FAILED_PRECONDITION", "overwritten") } : undefined;
    const pieces: Buffer[] = [];
    const reading = (async () => {
      for await (const piece of stream) pieces.push(piece);
    })();
    await expect(clock.run(reading)).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
    expect(Buffer.concat(pieces).equals(ramp(0, 16))).toBe(true);
    expect(transport.running).toBe(0);
  });

  it("fails without a retry if a response is invalid after some of its bytes were consumed", async () => {
    const { bytes, transport } = setUp(8);
    transport.onRead = () => ({ afterBytes: 6 });
    await expect(bytes()).rejects.toMatchObject({ code: "INTERNAL" });
    expect(transport.reads.length).toBe(1);
  });

  it("gives each block its own deadline", async () => {
    const { bytes, transport, clock } = setUp(24);
    transport.onRead = ({ offset }) => (offset === 16 ? { gate: new Promise(() => undefined) } : undefined);
    await expect(bytes()).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    expect(clock.monotonicMs()).toBe(DEADLINE_MS);
    expect(transport.running).toBe(0);
  });
});
