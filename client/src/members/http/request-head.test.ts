import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { requestHead } from "./request-head.js";

const read = { url: "s3://bucket/a/b.parquet", offset: 16, length: 4, version: "" };

describe("a request header", () => {
  it("requests the range, and the version if one is given", () => {
    expect(requestHead(read, "m:8081")).toBe("GET /s3/bucket/a/b.parquet HTTP/1.1\r\nHost: m:8081\r\nRange: bytes=16-19\r\n\r\n");
    expect(requestHead({ ...read, url: "gs://bucket/k", version: "7" }, "m:1")).toBe(
      'GET /gs/bucket/k HTTP/1.1\r\nHost: m:1\r\nRange: bytes=16-19\r\nIf-Match: "7"\r\n\r\n',
    );
  });

  it("has the headers between members for a forwarded read", () => {
    const forwarded = requestHead({ ...read, forwarded: true, cachedOnly: false, openEnded: true }, "m:1");
    expect(forwarded).toMatch(/\r\nRange: bytes=16-19\r\nfrontcache-forwarded: 1\r\nfrontcache-open-ended: 1\r\n\r\n$/);
    const bounded = requestHead({ ...read, forwarded: true, originRequests: 0 }, "m:1");
    expect(bounded).toMatch(/\r\nfrontcache-forwarded: 1\r\nfrontcache-origin-requests: 0\r\n\r\n$/);
    const cachedOnly = requestHead({ ...read, forwarded: true, cachedOnly: true, openEnded: false }, "m:1");
    expect(cachedOnly).toMatch(/\r\nfrontcache-forwarded: 1\r\nfrontcache-cached-only: 1\r\n\r\n$/);
  });

  it("says how long the client waits, unless that is as long as usual", () => {
    expect(requestHead(read, "m:1", undefined, 1_234.5)).toMatch(
      /\r\nRange: bytes=16-19\r\nfrontcache-timeout-ms: 1235\r\n\r\n$/,
    );
    const repeated = requestHead({ ...read, repeated: true }, "m:1", undefined, 1);
    expect(repeated).toMatch(/\r\nfrontcache-repeated: 1\r\nfrontcache-timeout-ms: 1\r\n\r\n$/);
    expect(requestHead(read, "m:1", undefined, 30_000)).toBe(requestHead(read, "m:1"));
  });

  it("escapes keys so that decoding once returns them, and keeps them inside the path", () => {
    const key = fc.oneof(
      fc.string({
        minLength: 1,
        maxLength: 60,
        unit: fc.integer({ min: 1, max: 0x2fff }).map((code) => String.fromCodePoint(code)),
      }),
      fc.constantFrom("a b", "100%", "%2F", "a+b", "a//b", "/a", "../a/..", ".", "日本/語", "a?b#c", "a\r\nHost: x", "'()*!~"),
    );
    fc.assert(
      fc.property(key, (name) => {
        const lines = requestHead({ ...read, url: `s3://bucket/${name}` }, "m:1").split("\r\n");
        const path = /^GET \/s3\/bucket\/([\x21-\x7e]+) HTTP\/1\.1$/.exec(lines[0]!)![1]!;
        expect(decodeURIComponent(path)).toBe(name);
        expect(path).not.toMatch(/[?#"<>\\^`{|}]/);
        expect(lines.slice(1)).toEqual(["Host: m:1", "Range: bytes=16-19", "", ""]);
      }),
      { numRuns: 300 },
    );
  });

  it.each(["http://bucket/key", "s3://bu\r\ncket/key", "s3://a b/k"])("is not created for %j", (url) => {
    expect(() => requestHead({ ...read, url }, "m:1")).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  });
});
