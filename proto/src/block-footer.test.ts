import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type BlockFooter, decodeFooter, encodeFooter, FOOTER_BYTES, FOOTER_TAIL_BYTES } from "./block-footer.js";

const testGeometry = { blockBytes: 65_536, segmentBytes: 8_192 };

const footer: BlockFooter = {
  id: { url: "s3://bucket/a key/ü", version: "0123456789abcdef", offset: 3 * 65_536 },
  info: { version: "0123456789abcdef", objectSize: 2 ** 40 + 1, contentType: "text/plain", lastModifiedMs: 1_700_000_000_123 },
  createdAtMs: 1_700_000_001_456,
  crcs: [0xdeadbeef, undefined, 0, undefined, undefined, undefined, undefined, 1],
  drops: 0,
};

/** The used part of `footer`'s bytes: other bytes need another format number. */
const golden = [
  "667263626c6f636b01000000002000000000010000000000000003000000000000000100000000000100000000010000",
  "00b08756febc78420000db56febc7842140010000a00080085efbeadde00000000000000000000000000000000000000",
  "00000000000100000073333a2f2f6275636b65742f61206b65792fc3bc30313233343536373839616263646566746578",
  "742f706c61696e000000",
].join("");

describe("a footer", () => {
  it("has these golden bytes, which later versions must read", () => {
    const bytes = encodeFooter(footer, testGeometry)!;
    expect(bytes.length).toBe(FOOTER_BYTES);
    const used = bytes.subarray(0, 154);
    expect(used.toString("hex")).toBe(golden);
    expect(bytes.subarray(154, FOOTER_BYTES - 4).every((byte) => byte === 0)).toBe(true);
    expect(bytes.readUInt32LE(FOOTER_BYTES - 4).toString(16)).toBe("d6d001d9");
  });

  it("has the number of drops and a checksum in its last bytes", () => {
    const tail = (of: BlockFooter): string => encodeFooter(of, testGeometry)!.subarray(-FOOTER_TAIL_BYTES).toString("hex");
    expect(tail({ ...footer, drops: 0x01020304 }).slice(0, 8)).toBe("04030201");
    const others = [footer, { ...footer, drops: 1 }, { ...footer, crcs: footer.crcs.with(1, 5) }, { ...footer, createdAtMs: 0 }];
    expect(new Set(others.map(tail)).size).toBe(others.length);
    expect(decodeFooter(encodeFooter({ ...footer, drops: 7 }, testGeometry)!, testGeometry)!.drops).toBe(7);
  });

  it("is decoded as it was encoded", () => {
    expect(decodeFooter(encodeFooter(footer, testGeometry)!, testGeometry)).toEqual(footer);
    const bare: BlockFooter = { ...footer, info: { version: footer.info.version, objectSize: footer.info.objectSize } };
    expect(decodeFooter(encodeFooter(bare, testGeometry)!, testGeometry)).toEqual(bare);
  });

  it("is decoded as it was encoded, for random contents", () => {
    const text = fc.string({ unit: "grapheme", maxLength: 300 });
    const crcs = fc.array(fc.option(fc.nat(0xffffffff), { nil: undefined }), { minLength: 8, maxLength: 8 });
    fc.assert(
      fc.property(text, text, fc.nat(2 ** 30), crcs, (url, version, block, found) => {
        const offset = block * testGeometry.blockBytes;
        const any = { ...footer, id: { url, version, offset }, info: { version, objectSize: offset + 64 * 1024 }, crcs: found };
        expect(decodeFooter(encodeFooter(any, testGeometry)!, testGeometry)).toEqual(any);
      }),
    );
  });

  it("is rejected if any bit is flipped", () => {
    const good = encodeFooter(footer, testGeometry)!;
    fc.assert(
      fc.property(fc.nat(FOOTER_BYTES * 8 - 1), (bit) => {
        const bad = Buffer.from(good);
        bad[bit >> 3]! ^= 1 << (bit & 7);
        expect(decodeFooter(bad, testGeometry)).toBeUndefined();
      }),
    );
  });

  it("is rejected if it has another geometry, is truncated or missing", () => {
    const bytes = encodeFooter(footer, testGeometry)!;
    expect(decodeFooter(bytes, { ...testGeometry, segmentBytes: 4096 })).toBeUndefined();
    expect(decodeFooter(bytes, { ...testGeometry, blockBytes: 32_768 })).toBeUndefined();
    expect(decodeFooter(bytes.subarray(0, 4000), testGeometry)).toBeUndefined();
    expect(decodeFooter(Buffer.alloc(FOOTER_BYTES), testGeometry)).toBeUndefined();
  });

  it("is not encoded if the identity does not fit", () => {
    expect(encodeFooter({ ...footer, id: { ...footer.id, version: "v".repeat(4000) } }, testGeometry)).toBeUndefined();
  });
});
