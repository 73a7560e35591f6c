import { CacheError } from "@frontcache/proto";
import { beforeEach, describe, expect, it } from "vitest";
import { FillSegments } from "./fill-segments.js";
import { SegmentBuffer } from "./segment-buffer.js";

const never = new AbortController().signal;
const failure = new CacheError("UNAVAILABLE", "placed");

describe("the segments of a fill", () => {
  let segments: FillSegments;
  let given: number;

  beforeEach(() => {
    segments = new FillSegments();
    given = 0;
  });

  /** The segment comes whole, and can't be written. */
  function unkept(segment: number): void {
    segments.progressed(segment, new SegmentBuffer(8, Buffer.alloc(8), () => given++));
    segments.settle(segment, false);
  }

  it("stay in memory until they are on disk", () => {
    segments.enter(1);
    segments.progressed(1, new SegmentBuffer(8, Buffer.alloc(8), () => given++));
    expect([segments.buffer(1)?.length, segments.size, given]).toEqual([8, 1, 0]);
    segments.settle(1, true);
    expect([segments.buffer(1), segments.size, given]).toEqual([undefined, 0, 1]);
  });

  it("that could not be written stay until the last who entered for them has left", () => {
    segments.enter(1);
    segments.enter(1);
    unkept(1);
    expect(segments.leave(1, false)).toBe(false);
    expect([segments.isUnkept(1), given]).toEqual([true, 0]);
    expect(segments.leave(1, false)).toBe(true);
    expect([segments.isUnkept(1), segments.size, given]).toEqual([false, 0, 1]);
  });

  it("that could not be written are given back for want of memory, but not under a reader who is there", () => {
    for (const segment of [1, 2]) {
      segments.enter(segment);
      unkept(segment);
    }
    segments.arrive(2);
    segments.dropUnkept();
    expect([segments.buffer(1), segments.isUnkept(2), given]).toEqual([undefined, true, 1]);
  });

  it("that nobody comes for are not held for anybody", () => {
    unkept(1);
    expect([segments.size, given]).toEqual([0, 1]);
  });

  it("that fail say why to those who wait and those who entered, until the last of them has left", async () => {
    segments.enter(1);
    segments.enter(1);
    const waiting = segments.progress(1, never);
    segments.fail(1, failure);
    await expect(waiting).rejects.toBe(failure);
    segments.leave(1, false);
    expect(segments.failure(1)).toBe(failure);
    segments.leave(1, false);
    expect(segments.failure(1)).toBeUndefined();
  });

  it("that fail say so to nobody who comes later", () => {
    segments.fail(1, failure);
    segments.enter(1);
    expect(segments.failure(1)).toBeUndefined();
  });

  it("wake who waits for them when they move, are dropped or are on disk, each alone", async () => {
    let woken = 0;
    for (const segment of [1, 2, 3, 4]) void segments.progress(segment, never).then(() => woken++);
    segments.progressed(1, new SegmentBuffer(8, Buffer.alloc(8), () => given++));
    segments.drop(2);
    segments.settle(3, true);
    await Promise.resolve();
    expect(woken).toBe(3);
  });
});
