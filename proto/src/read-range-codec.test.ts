import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ReadRangeResponse } from "./gen/cache.js";
import { decodeReadRangeResponse, encodeReadRangeResponse } from "./read-range-codec.js";

const responses = fc.record({
  data: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
  version: fc.string({ unit: "grapheme", maxLength: 40 }),
  objectSize: fc.maxSafeNat(),
});

describe("the codec of ReadRangeResponse", () => {
  it("encodes the same bytes as the generated code", () => {
    fc.assert(
      fc.property(responses, (message) => {
        expect(encodeReadRangeResponse(message)).toEqual(Buffer.from(ReadRangeResponse.encode(message).finish()));
      }),
      { seed: 20_260_304 },
    );
  });

  it("decodes the encoding of the generated code", () => {
    fc.assert(
      fc.property(responses, (message) => {
        expect(decodeReadRangeResponse(Buffer.from(ReadRangeResponse.encode(message).finish()))).toEqual(message);
      }),
      { seed: 20_260_304 },
    );
  });

  it("encodes the fields of FrontCache with its numbers: data as field 1, object_size as field 2", () => {
    const encoded = encodeReadRangeResponse({ data: Buffer.from("ab"), objectSize: 300, version: "v" });
    expect([...encoded]).toEqual([0x0a, 2, 0x61, 0x62, 0x10, 0xac, 0x02, 0x1a, 1, 0x76]);
  });

  it("encodes a length that takes four bytes", () => {
    const message = { data: Buffer.alloc(3 << 20, 7), version: "", objectSize: 0 };
    const decoded = decodeReadRangeResponse(encodeReadRangeResponse(message));
    expect(decoded.data.equals(message.data)).toBe(true);
  });

  it("returns the data as a view, not as a copy", () => {
    const encoded = encodeReadRangeResponse({ data: Buffer.from("abc"), version: "v", objectSize: 9 });
    expect(decodeReadRangeResponse(encoded).data.buffer).toBe(encoded.buffer);
  });

  it("skips unknown fields", () => {
    const known = encodeReadRangeResponse({ data: Buffer.from("abc"), version: "v", objectSize: 9 });
    const unknown = Buffer.from([(9 << 3) | 2, 2, 1, 2]);
    expect(decodeReadRangeResponse(Buffer.concat([unknown, known]))).toEqual({
      data: Buffer.from("abc"),
      version: "v",
      objectSize: 9,
    });
  });

  it("throws for truncated messages", () => {
    const encoded = encodeReadRangeResponse({ data: Buffer.alloc(200), version: "version", objectSize: 2 ** 40 });
    for (let length = 1; length < 200; length++) {
      expect(() => decodeReadRangeResponse(encoded.subarray(0, length))).toThrow();
    }
  });
});
