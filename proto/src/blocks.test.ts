import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { blockLength, blockOffsetOf, blockRanges, checkRange, DEFAULT_GEOMETRY, segmentCount, segmentLength } from "./blocks.js";

const geometry = { blockBytes: 8, segmentBytes: 2 };
const MiB = 1 << 20;

describe("blocks", () => {
  it("cover a range once and in order", () => {
    fc.assert(
      fc.property(fc.nat(200), fc.nat(200), (offset, length) => {
        const bytes: number[] = [];
        for (const { blockOffset, start, end } of blockRanges(offset, length, geometry)) {
          expect(blockOffset % geometry.blockBytes).toBe(0);
          expect(end).toBeGreaterThan(start);
          expect(end).toBeLessThanOrEqual(geometry.blockBytes);
          for (let at = start; at < end; at++) bytes.push(blockOffset + at);
        }
        expect(bytes).toEqual(Array.from({ length }, (_, i) => offset + i));
      }),
    );
  });

  it("are computed lazily, so a range of 2^52 bytes costs nothing", () => {
    expect(blockRanges(0, 2 ** 52, geometry).next().value).toEqual({ blockOffset: 0, start: 0, end: 8 });
  });

  it("are exact for offsets beyond 32 bits", () => {
    expect(blockOffsetOf(2 ** 45 + 5, DEFAULT_GEOMETRY)).toBe(2 ** 45);
  });

  it("have 16 MiB in segments of 1 MiB; the last ones may be shorter", () => {
    expect(DEFAULT_GEOMETRY).toEqual({ blockBytes: 16 * MiB, segmentBytes: MiB });
    expect(blockLength(16 * MiB, 20 * MiB + 1, DEFAULT_GEOMETRY)).toBe(4 * MiB + 1);
    expect(segmentCount(4 * MiB + 1, DEFAULT_GEOMETRY)).toBe(5);
    expect([3, 4, 5].map((segment) => segmentLength(segment, 4 * MiB + 1, DEFAULT_GEOMETRY))).toEqual([MiB, 1, 0]);
    expect(blockLength(16 * MiB, 16 * MiB, DEFAULT_GEOMETRY)).toBe(0);
  });
});

describe("a range", () => {
  it.each([
    [-1, 1],
    [0, -1],
    [0.5, 1],
    [0, 1.5],
    [Number.NaN, 1],
    [2 ** 53, 1],
    [2 ** 53 - 1, 1],
    [0, Number.POSITIVE_INFINITY],
  ])("from %d of %d bytes is refused", (offset, length) => {
    expect(() => checkRange("s3://b/k", offset, length)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  });

  it("may reach up to 2^53 - 1, and may have length 0", () => {
    expect(() => checkRange("s3://b/k", 0, 0)).not.toThrow();
    expect(() => checkRange("s3://b/k", 2 ** 53 - 2, 1)).not.toThrow();
  });
});
