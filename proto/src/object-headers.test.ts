import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { collectHeaders, headerPairs, headerValue, isObjectHeader, MAX_OBJECT_HEADERS_LENGTH } from "./object-headers.js";
import {
  headersFromLines,
  infoOfStat,
  infoToStat,
  isSameInfo,
  type ObjectInfo,
  recordFromMessage,
  recordToMessage,
} from "./object-info.js";

describe("the headers of an object", () => {
  it("are those that describe it, with names in lower case, sorted by name", () => {
    const { headers, dropped } = collectHeaders([
      ["X-Amz-Meta-B", "2"],
      ["x-amz-meta-a", " caf\xe9\t"],
      ["Content-Encoding", "gzip"],
      ["Content-Length", "5"],
      ["Date", "now"],
      ["x-amz-request-id", "1"],
      ["x-amz-id-2", "1"],
      ["Set-Cookie", "a"],
      ["x-amz-metadata", "?"],
    ]);
    expect(headers).toBe("content-encoding: gzip\r\nx-amz-meta-a: caf\xe9\r\nx-amz-meta-b: 2\r\n");
    expect(dropped).toEqual([]);
    expect([...headerPairs(headers)]).toEqual([
      ["content-encoding", "gzip"],
      ["x-amz-meta-a", "caf\xe9"],
      ["x-amz-meta-b", "2"],
    ]);
    expect([headerValue(headers, "x-amz-meta-b"), headerValue(headers, "x-amz-meta-c")]).toEqual(["2", undefined]);
  });

  it.each([
    "cache-control",
    "expires",
    "content-disposition",
    "content-encoding",
    "content-language",
    "x-amz-checksum-crc32",
    "x-amz-checksum-type",
    "x-amz-expiration",
    "x-amz-meta-x",
    "x-amz-mp-parts-count",
    "x-amz-object-lock-mode",
    "x-amz-restore",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-storage-class",
    "x-amz-tagging-count",
    "x-amz-version-id",
    "x-goog-hash",
    "x-goog-meta-x",
    "x-goog-metageneration",
    "x-goog-storage-class",
  ])("include %s", (name) => {
    expect(isObjectHeader(name)).toBe(true);
  });

  it("omit values that a header cannot contain, and name them", () => {
    const { headers, dropped } = collectHeaders([
      ["x-amz-meta-line", "a\r\nSet-Cookie: b"],
      ["x-amz-meta-null", "a\0"],
      ["x-amz-meta-wide", "\u0141"],
      ["x-amz-meta-na me", "a"],
      ["x-amz-meta-twice", "a"],
      ["X-Amz-Meta-Twice", "b"],
      ["x-amz-meta-good", "a"],
    ]);
    expect(headers).toBe("x-amz-meta-good: a\r\nx-amz-meta-twice: a\r\n");
    expect(dropped).toEqual(["x-amz-meta-line", "x-amz-meta-null", "x-amz-meta-wide", "x-amz-meta-na me", "x-amz-meta-twice"]);
  });

  it("may have 8 KiB of user metadata; beyond the limit user metadata is omitted first", () => {
    const metadata = Array.from({ length: 8 }, (_, at) => [`x-amz-meta-${at}`, "v".repeat(1_000)] as const);
    expect(collectHeaders(metadata).dropped).toEqual([]);
    const { headers, dropped } = collectHeaders([...metadata, ["x-amz-meta-z", "v".repeat(5_000)], ["x-amz-version-id", "1"]]);
    expect(dropped).toEqual(["x-amz-meta-z"]);
    expect(headerValue(headers, "x-amz-version-id")).toBe("1");
    expect(collectHeaders([["content-disposition", "d".repeat(20_000)]]).dropped).toEqual(["content-disposition"]);
  });

  it("are bounded and well formed, whatever an origin returns", () => {
    const name = fc.oneof(
      fc.constantFrom("content-encoding", "x-amz-meta-", "x-amz-meta-a", "x-goog-meta-b", "expires"),
      fc.string(),
    );
    const value = fc.oneof(
      fc.string(),
      // Any characters. fast-check's own unit of all characters first maps each of a million to its number.
      fc.array(fc.integer({ min: 0, max: 0x10ffff })).map((characters) => String.fromCodePoint(...characters)),
      fc.nat(20_000).map((length) => "v".repeat(length)),
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(name, value), { maxLength: 30 }), (pairs) => {
        const { headers } = collectHeaders(pairs);
        expect(headers.length).toBeLessThanOrEqual(MAX_OBJECT_HEADERS_LENGTH);
        expect(headers).toMatch(/^(?:[!-9;-~]+: [\t\x20-\x7e\x80-\xff]*\r\n)*$/);
        expect(collectHeaders(headerPairs(headers))).toEqual({ headers, dropped: [] });
        expect(headersFromLines(headers).headers ?? "").toBe(headers);
      }),
    );
  });

  it("of another process are checked", () => {
    expect(headersFromLines("content-encoding: gzip\r\nset-cookie: a\r\n")).toEqual({ headers: "content-encoding: gzip\r\n" });
    for (const lines of ["content-encoding: gzip", "content-encoding gzip\r\n", "\r\n", "a: b\r\n\r\n", "a: b\n"])
      expect(headersFromLines(lines)).toEqual({});
  });
});

describe("an object's information", () => {
  const info: ObjectInfo = {
    version: "v1",
    objectSize: 5,
    contentType: "text/plain",
    lastModifiedMs: 1_000,
    headers: "content-encoding: gzip\r\nx-amz-meta-a: caf\xe9\r\n",
    lacks: "checksums",
  };

  it("is the same after its way through a message", () => {
    for (const each of [info, { version: "v1", objectSize: 0 }]) {
      expect(recordFromMessage(recordToMessage(each))).toEqual(each);
      expect(infoOfStat({ ...infoToStat(each), cachedBytes: 1 })).toEqual(each);
    }
  });

  it("differs if any of it differs", () => {
    expect(isSameInfo(info, { ...info })).toBe(true);
    for (const change of [{ version: "v2" }, { objectSize: 6 }, { contentType: "a" }, { lastModifiedMs: 2 }, { headers: "" }])
      expect(isSameInfo(info, { ...info, ...change })).toBe(false);
    const { lacks: _, ...whole } = info;
    expect(isSameInfo(info, whole)).toBe(false);
  });
});
