import { crc32 } from "node:zlib";
import { describe, expect, it } from "vitest";
import { SegmentBuffer } from "./segment-buffer.js";

describe("a segment's buffer", () => {
  it("has room for what is missing of its segment, and knows the CRC-32 of what has landed", () => {
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

  it("gives its memory back once, after the fill and the last slice have let go", () => {
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
