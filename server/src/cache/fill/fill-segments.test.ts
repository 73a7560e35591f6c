import { crc32 } from "node:zlib";
import { CacheError } from "@frontcache/proto";
import { beforeEach, describe, expect, it } from "vitest";
import { FillSegments, SegmentBuffer } from "./fill-segments.js";

const never = new AbortController().signal;
const failure = new CacheError("UNAVAILABLE", "placed");

describe("the segments of a fill", () => {
  let segments: FillSegments;
  let given: number;

  beforeEach(() => {
    segments = new FillSegments();
    given = 0;
  });

  /** The segment is complete and cannot be written. */
  function unkept(segment: number): void {
    segments.progressed(segment, new SegmentBuffer(8, Buffer.alloc(8), () => given++));
    segments.settle(segment, false);
  }

  it("stay in memory until they are on disk", () => {
    segments.enter([1]);
    segments.progressed(1, new SegmentBuffer(8, Buffer.alloc(8), () => given++));
    expect([segments.buffer(1)?.length, segments.size, given]).toEqual([8, 1, 0]);
    segments.settle(1, true);
    expect([segments.buffer(1), segments.size, given]).toEqual([undefined, 0, 1]);
  });

  it("that could not be written stay until the last reader that entered for them has left", () => {
    segments.enter([1]);
    segments.enter([1]);
    unkept(1);
    expect(segments.leave(1, false)).toBe(false);
    expect([segments.isUnkept(1), given]).toEqual([true, 0]);
    expect(segments.leave(1, false)).toBe(true);
    expect([segments.isUnkept(1), segments.size, given]).toEqual([false, 0, 1]);
  });

  it("that could not be written are freed when memory is needed, but not while a reader is at them", () => {
    for (const segment of [1, 2]) {
      segments.enter([segment]);
      unkept(segment);
    }
    segments.arrive(2);
    segments.dropUnkept();
    expect([segments.buffer(1), segments.isUnkept(2), given]).toEqual([undefined, true, 1]);
  });

  it("that could not be written are freed at once if no reader entered for them", () => {
    unkept(1);
    expect([segments.size, given]).toEqual([0, 1]);
  });

  it("that fail report the failure to waiting readers and to readers that entered, until the last of them has left", async () => {
    segments.enter([1]);
    segments.enter([1]);
    const waiting = segments.progress(1, never);
    segments.fail(1, failure);
    await expect(waiting).rejects.toBe(failure);
    segments.leave(1, false);
    expect(segments.failure(1)).toBe(failure);
    segments.leave(1, false);
    expect(segments.failure(1)).toBeUndefined();
  });

  it("that fail report nothing to readers that enter later", () => {
    segments.fail(1, failure);
    segments.enter([1]);
    expect(segments.failure(1)).toBeUndefined();
  });

  it("wake only their own waiters when they get bytes, are dropped or are on disk", async () => {
    let woken = 0;
    for (const segment of [1, 2, 3, 4]) void segments.progress(segment, never).then(() => woken++);
    segments.progressed(1, new SegmentBuffer(8, Buffer.alloc(8), () => given++));
    segments.drop(2);
    segments.settle(3, true);
    await Promise.resolve();
    expect(woken).toBe(3);
  });
});

describe("a segment's buffer", () => {
  it("has room for the missing bytes of its segment, and computes the CRC-32 of those that have landed", () => {
    const buffer = new SegmentBuffer(10, Buffer.alloc(16), () => {});
    buffer.room.write("abcdefgh");
    buffer.landed(8);
    expect([buffer.complete, buffer.room.length, buffer.crc]).toEqual([false, 2, crc32("abcdefgh")]);
    buffer.room.write("ij");
    buffer.landed(2);
    expect([buffer.complete, buffer.room.length]).toEqual([true, 0]);
    expect(buffer.bytes.toString()).toBe("abcdefghij");
    expect(buffer.crc).toBe(crc32("abcdefghij"));
  });

  it("frees its memory once, after the fill and the last slice have released it", () => {
    const freed: Buffer[] = [];
    const memory = Buffer.alloc(4);
    const buffer = new SegmentBuffer(4, memory, (bytes) => freed.push(bytes));
    buffer.room.write("abcd");
    buffer.landed(4);
    const slice = buffer.slice(1, 3);
    buffer.release();
    expect(freed).toEqual([]);
    expect(slice.bytes.toString()).toBe("bc");
    slice.release();
    expect(freed).toEqual([memory]);
  });
});
