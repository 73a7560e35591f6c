import { CacheError } from "@frontcache/proto";
import { describe, expect, it } from "vitest";
import { BodyChecksums, checksumLength, isChecksumHeader } from "./checksums.js";
import { Crc32, Crc32c, Crc64Nvme } from "./crc.js";

const CHECK = Buffer.from("123456789");

describe("a CRC", () => {
  it.each([
    ["CRC32", () => new Crc32(), "cbf43926"],
    ["CRC32C", () => new Crc32c(), "e3069283"],
    ["CRC64NVME", () => new Crc64Nvme(), "ae8b14860a799888"],
  ])("of the form %s has the catalogue's check value, however the bytes are cut", (_, create, check) => {
    for (let cut = 0; cut <= CHECK.length; cut++) {
      const crc = create();
      crc.update(CHECK.subarray(0, cut));
      crc.update(CHECK.subarray(cut));
      expect(crc.digest().toString("hex")).toBe(check);
    }
  });

  it.each([
    ["CRC32C", () => new Crc32c()],
    ["CRC64NVME", () => new Crc64Nvme()],
  ])("of the form %s is the same of long bytes and byte by byte", (_, create) => {
    const bytes = Buffer.from(Array.from({ length: 1_003 }, (_, at) => (at * 131 + (at >> 3)) & 0xff));
    const [whole, single] = [create(), create()];
    whole.update(bytes);
    for (const byte of bytes) single.update(Buffer.of(byte));
    expect(whole.digest()).toEqual(single.digest());
  });
});

describe("the checksums of a body", () => {
  const none = { contentMd5: undefined, payloadSha256: undefined, headers: [], trailer: undefined };
  const outcome = (run: () => void): string => {
    try {
      run();
      return "ok";
    } catch (error) {
      return CacheError.from(error).s3Code ?? "no code";
    }
  };
  const verified = (expected: Partial<ConstructorParameters<typeof BodyChecksums>[0]>, trailer?: string) =>
    outcome(() => {
      const checksums = new BodyChecksums({ ...none, ...expected });
      checksums.update(CHECK);
      checksums.verify(trailer);
    });

  it("are those of the bytes", () => {
    const sha256 = "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225";
    expect(verified({ contentMd5: "JfnnlDI7RTiF9RgfG2JNCw==", payloadSha256: sha256 })).toBe("ok");
    expect(verified({ headers: [["x-amz-checksum-crc32", "y/Q5Jg=="]], trailer: "x-amz-checksum-crc32c" }, "4waSgw==")).toBe(
      "ok",
    );
    expect(verified({ headers: [["x-amz-checksum-sha1", "98O8HYCOBHMq32eZZczDTKeuNEE="]] })).toBe("ok");
    expect(verified({ headers: [["x-amz-checksum-crc64nvme", "rosUhgp5mIg="]] })).toBe("ok");
  });

  it("differ from those of other bytes", () => {
    expect(verified({ contentMd5: "AAAAAAAAAAAAAAAAAAAAAA==" })).toBe("BadDigest");
    expect(verified({ payloadSha256: "0".repeat(64) })).toBe("XAmzContentSHA256Mismatch");
    expect(verified({ trailer: "x-amz-checksum-crc32c" }, "AAAAAA==")).toBe("BadDigest");
    expect(verified({ trailer: "x-amz-checksum-crc32c" }, undefined)).toBe("BadDigest");
  });

  it("are refused in another form", () => {
    expect(verified({ contentMd5: "JfnnlDI7RTiF9RgfG2JNCw" })).toBe("InvalidDigest");
    expect(verified({ headers: [["x-amz-checksum-crc32", "y/Q5"]] })).toBe("InvalidRequest");
    expect(["x-amz-checksum-crc32", "x-amz-checksum-md5", "constructor"].map(isChecksumHeader)).toEqual([true, false, false]);
    expect(checksumLength("x-amz-checksum-crc64nvme")).toBe("rosUhgp5mIg=".length);
  });
});
