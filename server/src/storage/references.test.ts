import { describe, expect, it } from "vitest";
import { READ_BYTES, ReadBuffers, References } from "./references.js";

const KiB = 1 << 10;

describe("read buffers", () => {
  it("provide the requested bytes, up to one read, and are returned once", () => {
    const references = new References();
    const buffers = new ReadBuffers(2 * READ_BYTES, references);
    const [large, odd, small] = [buffers.take(10 * READ_BYTES), buffers.take(100_000), buffers.take(4 * KiB)];
    expect([large, odd, small].map((slice) => slice.bytes.length)).toEqual([READ_BYTES, 100_000, 4 * KiB]);
    expect(references.open).toBe(3);
    large.release();
    large.release();
    expect(references.open).toBe(2);
    odd.release();
    small.release();
    expect(references.open).toBe(0);
  });

  it("make reads small while slow clients use all buffers, and limit the pooled memory", () => {
    const references = new References();
    const buffers = new ReadBuffers(2 * READ_BYTES, references);
    const slices = Array.from({ length: 5 }, () => buffers.take(READ_BYTES));
    expect(slices.map((slice) => slice.bytes.length / KiB)).toEqual([1024, 1024, 64, 64, 64]);
    for (const slice of slices) slice.release();
    const memory = new Set([buffers.take(READ_BYTES), buffers.take(READ_BYTES)].map((slice) => slice.bytes.buffer));
    expect([...memory].every((buffer) => slices.some((slice) => slice.bytes.buffer === buffer))).toBe(true);
  });
});
