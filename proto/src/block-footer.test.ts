import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type BlockFooter,
  bytesBehindFooter,
  decodeFooter,
  encodeFooter,
  FOOTER_BYTES,
  FOOTER_TAIL_BYTES,
  MAX_BYTES_BEHIND_FOOTER,
} from "./block-footer.js";
import { MAX_OBJECT_HEADERS_LENGTH } from "./object-headers.js";
import type { ObjectInfo } from "./object-info.js";

const testGeometry = { blockBytes: 65_536, segmentBytes: 8_192 };

const footer: BlockFooter = {
  id: { url: "s3://bucket/a key/ü", version: "0123456789abcdef", offset: 3 * 65_536 },
  info: {
    version: "0123456789abcdef",
    objectSize: 2 ** 40 + 1,
    contentType: "text/plain",
    lastModifiedMs: 1_700_000_000_123,
    lacks: "metadata",
  },
  createdAtMs: 1_700_000_001_456,
  crcs: [0xdeadbeef, undefined, 0, undefined, undefined, undefined, undefined, 1],
  drops: 0,
};

/** The used part of `footer`'s bytes in format 1: other bytes need another format number. */
const golden = [
  "667263626c6f636b01000000002000000000010000000000000003000000000000000100000000000100000000010000",
  "00b08756febc78420000db56febc7842140010000a00080085efbeadde00000000000000000000000000000000000000",
  "00000000000100000073333a2f2f6275636b65742f61206b65792fc3bc30313233343536373839616263646566746578",
  "742f706c61696e000000",
].join("");

/** The same block with the headers of its object: format 2. */
const described: BlockFooter = {
  ...footer,
  info: { ...withoutLacks(footer.info), headers: "content-encoding: gzip\r\nx-amz-meta-a: caf\xe9\r\n", lacks: "checksums" },
};

/** The used part of its bytes. */
const goldenWithHeaders = [
  "667263626c6f636b02000000002000000000010000000000000003000000000000000100000000000100000000010000",
  "00b08756febc78420000db56febc7842140010000a0008002c0001000000000085efbeadde0000000000000000000000",
  "000000000000000000000000000100000073333a2f2f6275636b65742f61206b65792fc3bc3031323334353637383961",
  "6263646566746578742f706c61696e636f6e74656e742d656e636f64696e673a20677a69700d0a782d616d7a2d6d6574",
  "612d613a20636166e90d0a",
].join("");

function withoutLacks({ lacks: _, ...info }: ObjectInfo): ObjectInfo {
  return info;
}

/** Headers of this many bytes, in lines. */
function headersOf(bytes: number): string {
  return `x-amz-meta-a: ${"v".repeat(bytes - "x-amz-meta-a: \r\n".length)}\r\n`;
}

describe("a footer with the headers of its object", () => {
  it("has these bytes, which later programs must read", () => {
    const bytes = encodeFooter(described, testGeometry)!;
    expect(bytes.length).toBe(FOOTER_BYTES);
    const usedBytes = goldenWithHeaders.length / 2;
    expect(bytes.subarray(0, usedBytes).toString("hex")).toBe(goldenWithHeaders);
    expect(bytes.subarray(usedBytes, FOOTER_BYTES - 4).every((byte) => byte === 0)).toBe(true);
    expect(bytes.readUInt32LE(FOOTER_BYTES - 4).toString(16)).toBe("3873de51");
    expect(decodeFooter(bytes, testGeometry)).toEqual(described);
  });

  it.each([0, 100, 3_800, 3_900, 4_000, 8_192, MAX_OBJECT_HEADERS_LENGTH])(
    "has all %i bytes of them in the file of the object's first block",
    (length) => {
      const headers = length === 0 ? {} : { headers: headersOf(length) };
      const first: BlockFooter = {
        ...footer,
        id: { ...footer.id, offset: 0 },
        info: { ...withoutLacks(footer.info), ...headers },
      };
      const bytes = encodeFooter(first, testGeometry)!;
      expect(bytes.length).toBe(FOOTER_BYTES + bytesBehindFooter(bytes));
      expect(bytes.length % FOOTER_BYTES).toBe(0);
      expect(bytesBehindFooter(bytes)).toBeLessThanOrEqual(MAX_BYTES_BEHIND_FOOTER);
      expect(decodeFooter(bytes, testGeometry)).toEqual(first);
    },
  );

  it("omits headers that do not fit into it if the block is not the object's first one", () => {
    const info = { ...footer.info, headers: headersOf(4_000) };
    expect(encodeFooter({ ...footer, info }, testGeometry)!.toString("hex")).toBe(
      encodeFooter(footer, testGeometry)!.toString("hex"),
    );
  });

  it("is valid without what is behind it, and lacks the headers then", () => {
    const headers = headersOf(8_192);
    const first: BlockFooter = { ...footer, id: { ...footer.id, offset: 0 }, info: { ...withoutLacks(footer.info), headers } };
    const bytes = encodeFooter(first, testGeometry)!;
    const lacking = { ...first, info: footer.info };
    expect(decodeFooter(bytes.subarray(0, FOOTER_BYTES), testGeometry)).toEqual(lacking);
    expect(decodeFooter(bytes.subarray(0, 5_000), testGeometry)).toEqual(lacking);
    const damaged = Buffer.from(bytes);
    damaged[5_000]! ^= 1;
    expect(decodeFooter(damaged, testGeometry)).toEqual(lacking);
  });

  it("never brings headers that are not well formed", () => {
    const headers = "content-encoding: gzip\r\n\r\nbody";
    const bytes = encodeFooter({ ...described, info: { ...described.info, headers } }, testGeometry)!;
    expect(decodeFooter(bytes, testGeometry)!.info).toEqual(footer.info);
  });
});

describe("a footer without headers", () => {
  it("has these bytes, which later programs must read", () => {
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
    const { version, objectSize } = footer.info;
    const bare: BlockFooter = { ...footer, info: { version, objectSize, lacks: "metadata" } };
    expect(decodeFooter(encodeFooter(bare, testGeometry)!, testGeometry)).toEqual(bare);
  });

  it("is decoded as it was encoded, for random contents", () => {
    const text = fc.string({ unit: "grapheme", maxLength: 300 });
    const lacking = fc.constantFrom("checksums" as const, "metadata" as const);
    const crcs = fc.array(fc.option(fc.nat(0xffffffff), { nil: undefined }), { minLength: 8, maxLength: 8 });
    fc.assert(
      fc.property(text, text, fc.nat(2 ** 30), crcs, lacking, (url, version, block, found, lacks) => {
        const offset = block * testGeometry.blockBytes;
        const any = {
          ...footer,
          id: { url, version, offset },
          info: { version, objectSize: offset + 64 * 1024, lacks },
          crcs: found,
        };
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
