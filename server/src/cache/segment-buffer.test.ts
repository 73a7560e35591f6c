import { crc32 } from "node:zlib";
import { describe, expect, it } from "vitest";
import { SegmentBuffer } from "./segment-buffer.js";

describe("a segment's buffer", () => {
  it("takes chunks until it is complete and leaves the rest of the last one", () => {
    const buffer = new SegmentBuffer(10, Buffer.alloc(16), () => {});
    const chunk = Buffer.from("abcdefgh");
    expect(buffer.append(chunk, 0)).toBe(8);
    expect(buffer.complete).toBe(false);
    expect(buffer.append(chunk, 3)).toBe(2);
    expect(buffer.complete).toBe(true);
    expect(buffer.bytes.toString()).toBe("abcdefghde");
    expect(buffer.crc).toBe(crc32("abcdefghde"));
  });

  it("gives its memory back once, after the fill and the last slice have let go", () => {
    const freed: Buffer[] = [];
    const memory = Buffer.alloc(4);
    const buffer = new SegmentBuffer(4, memory, (bytes) => freed.push(bytes));
    buffer.append(Buffer.from("abcd"), 0);
    const slice = buffer.slice(1, 3);
    buffer.release();
    expect(freed).toEqual([]);
    expect(slice.bytes.toString()).toBe("bc");
    slice.release();
    expect(freed).toEqual([memory]);
  });
});
