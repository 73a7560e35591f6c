import { describe, expect, it } from "vitest";
import { CacheError } from "./errors.js";
import { checkUrlBeginning, parseObjectUrl, parsePrefixUrl, schemeOfPath, splitScheme, urlForms } from "./object-url.js";

function refusal(url: string): string {
  try {
    parseObjectUrl(url);
  } catch (error) {
    expect(error).toBeInstanceOf(CacheError);
    expect((error as CacheError).code).toBe("INVALID_ARGUMENT");
    return (error as CacheError).message;
  }
  throw new Error(`${url} was accepted`);
}

describe("an object's URL", () => {
  it("is parsed into scheme, bucket and key", () => {
    expect(parseObjectUrl("s3://data/a/b.parquet")).toEqual({
      url: "s3://data/a/b.parquet",
      scheme: "s3",
      bucket: "data",
      key: "a/b.parquet",
    });
    expect(parseObjectUrl("gs://my_bucket.example.com/x").scheme).toBe("gs");
  });

  it.each(["a b", "100%", "%2F", "a+b", "a//b", "/a", "../a/..", ".", "日本/語", "e\u0301", "a?b#c", "a\\b", "tab\there"])(
    "keeps the key %j verbatim",
    (key) => {
      expect(parseObjectUrl(`s3://bucket/${key}`).key).toBe(key);
    },
  );

  it("accepts keys of at most 1,024 bytes, of values 8,192", () => {
    expect(parseObjectUrl(`s3://bucket/${"k".repeat(1024)}`).key).toHaveLength(1024);
    expect(refusal(`s3://bucket/${"é".repeat(513)}`)).toContain("longer than 1024 bytes");
    expect(parseObjectUrl(`cache://bucket/${"k".repeat(8192)}`).key).toHaveLength(8192);
    expect(refusal(`cache://bucket/${"k".repeat(8193)}`)).toContain("longer than 8192 bytes");
  });

  it.each(["", "bucket/key", "http://bucket/key", "s3:/bucket/key", "S3://bucket/key", "file:///etc/passwd"])(
    "rejects %j: not an object's URL",
    (url) => {
      expect(refusal(url)).toContain("is not an object's URL");
    },
  );

  it.each(["s3://", "s3:///key", "s3://a/key", "s3://b@d/key", "s3://bucket:80/key", "s3://.bucket/key", "s3://buck et/key"])(
    "rejects %j: no bucket",
    (url) => {
      expect(refusal(url)).toContain("no valid bucket");
    },
  );

  it.each(["tenant:bucket", ":bucket"])("accepts the bucket %s of a tenant of Ceph", (bucket) => {
    expect(parseObjectUrl(`s3://${bucket}/key`)).toMatchObject({ bucket, key: "key" });
    expect(refusal(`gs://${bucket}/key`)).toContain("no valid bucket");
  });

  it.each(["s3://bucket", "s3://bucket/"])("rejects %j: no key", (url) => {
    expect(refusal(url)).toContain("names no object");
  });

  it.each([
    ["s3://bucket", ""],
    ["s3://bucket/", ""],
    ["gs://bucket/a/b c", "a/b c"],
  ])("accepts %j as a prefix", (url, prefix) => {
    const scheme = url.slice(0, 2);
    expect(parsePrefixUrl(url)).toEqual({ url, scheme, bucket: "bucket", prefix });
  });

  it("rejects prefixes that no key can begin with, and prefixes without a bucket", () => {
    for (const url of ["s3://", "bucket/a", "s3://bucket/\ud800", `s3://bucket/${"x".repeat(1025)}`]) {
      expect(() => parsePrefixUrl(url)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    }
  });

  it("rejects keys with half a surrogate pair", () => {
    expect(refusal("s3://bucket/\ud800")).toContain("not valid Unicode");
  });

  it("causes errors of one line and bounded length", () => {
    const message = refusal(`nonsense\n${"x".repeat(10_000)}`);
    expect(message).not.toContain("\n");
    expect(message.length).toBeLessThan(400);
  });
});

describe("the scheme", () => {
  it.each([
    ["s3://bucket/key", { scheme: "s3", rest: "bucket/key" }],
    ["gs://", { scheme: "gs", rest: "" }],
    ["cache://bucket/key", { scheme: "cache", rest: "bucket/key" }],
    ["s3:/bucket", undefined],
    ["S3://bucket", undefined],
    ["", undefined],
  ])("of the URL %j is split off: %j", (url, expected) => {
    expect(splitScheme(url)).toEqual(expected);
  });

  it.each([
    ["/s3", "s3"],
    ["/gs/bucket/key", "gs"],
    ["/s3x/bucket", undefined],
    ["s3/bucket", undefined],
    ["/", undefined],
    ["", undefined],
  ])("of the path %j is %j", (path, scheme) => {
    expect(schemeOfPath(path)).toBe(scheme);
  });

  it("appears in every form of URL that a message shows", () => {
    expect(urlForms("bucket/key")).toBe("s3://bucket/key or gs://bucket/key");
  });

  it("is required in a prefix of URLs", () => {
    expect(checkUrlBeginning("s3://")).toBe("s3://");
    expect(checkUrlBeginning("gs://bucket/events/2024-")).toBe("gs://bucket/events/2024-");
    for (const text of ["", "events/", "s3:", "/s3/bucket"]) {
      expect(() => checkUrlBeginning(text)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    }
  });
});
