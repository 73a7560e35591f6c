import { describe, expect, it } from "vitest";
import { parseTarget } from "./request-target.js";

function urlOf(target: string): string {
  const parsed = parseTarget(target);
  return parsed.kind === "object" ? parsed.ref.url : parsed.kind;
}

describe("the target of a request", () => {
  it.each([
    ["/s3/bucket/key", "s3://bucket/key"],
    ["/gs/bucket/key", "gs://bucket/key"],
    ["/s3/bucket/a/b/c.txt", "s3://bucket/a/b/c.txt"],
    ["/s3/bucket//a//b/", "s3://bucket//a//b/"],
    ["/s3/bucket/../x/./y", "s3://bucket/../x/./y"],
    ["/s3/bucket/a%2Fb%2f..%2Fc", "s3://bucket/a/b/../c"],
    ["/s3/bucket/a+b%2Bc", "s3://bucket/a+b+c"],
    ["/s3/bucket/%20a%25b%2525", "s3://bucket/ a%b%25"],
    ["/s3/bucket/%C3%A9%F0%9F%90%98", "s3://bucket/é🐘"],
    ["/s3/bucket/\u00c3\u00a9", "s3://bucket/é"],
    ["/s3/bucket/%EF%BB%BFbom", "s3://bucket/\ufeffbom"],
    ["/s3/bucket/a%3Fb%23c", "s3://bucket/a?b#c"],
    ["/s3/bucket/a%00%0Ab", "s3://bucket/a\0\nb"],
    ["/s3/bucket/a#b;c=d", "s3://bucket/a#b;c=d"],
    ["http://member:8081/s3/bucket/key?x-id=GetObject", "s3://bucket/key"],
    ["HTTP://member/gs/bucket/key", "gs://bucket/key"],
  ])("%s names %s", (target, url) => {
    expect(urlOf(target)).toBe(url);
  });

  it.each(["%", "%4", "%zz", "a%2", "%C3", "%C3%28", "%ED%A0%80", "%FF", "%C0%AF", "\u00e9", "%%32%35"])(
    "/s3/bucket/%s can't be decoded",
    (key) => {
      expect(() => parseTarget(`/s3/bucket/${key}`)).toThrow(/percent-encode the key's UTF-8 bytes/);
    },
  );

  it.each(["/s3/b/key", "/s3/buc%6Bet/key", "/s3//key", "/gs/buck$t/key", "/s3/bucket%2Fkey/x"])(
    "%s has no valid bucket",
    (target) => {
      expect(() => parseTarget(target)).toThrow(/has no valid bucket/);
    },
  );

  it("names no object by a key of more than 1,024 bytes", () => {
    expect(() => parseTarget(`/s3/bucket/${"%C3%A9".repeat(513)}`)).toThrow(/longer than 1024 bytes/);
    expect(urlOf(`/s3/bucket/${"%C3%A9".repeat(512)}`)).toBe(`s3://bucket/${"é".repeat(512)}`);
  });

  it.each([
    ["/s3/bucket", "s3", ""],
    ["/gs/bucket/", "gs", ""],
    ["/s3/bucket?list-type=2&prefix=/a?b/", "s3", "list-type=2&prefix=/a?b/"],
    ["/s3/bucket/?location", "s3", "location"],
  ])("%s is about a bucket", (target, scheme, query) => {
    const ref = { url: `${scheme}://bucket`, scheme, bucket: "bucket" };
    expect(parseTarget(target)).toEqual({ kind: "bucket", ref, query });
  });

  it.each(["/s3", "/s3/", "/gs/", "/s3?x-id=ListBuckets"])("%s is about all buckets", (target) => {
    expect(parseTarget(target)).toEqual({ kind: "buckets" });
  });

  it.each([
    ["/", "/"],
    ["/livez", "/livez"],
    ["/readyz?verbose", "/readyz"],
    ["/S3/bucket/key", "/S3/bucket/key"],
    ["*", "*"],
    ["member:80", "member:80"],
    ["http://member", ""],
    ["", ""],
  ])("%j is another path", (target, path) => {
    expect(parseTarget(target)).toEqual({ kind: "path", path });
  });
});

describe("the query of a request", () => {
  it.each(["x-id=GetObject", "X-Amz-Signature=%zz&X-Amz-Date=1", "", "&&", "=", "aclx", "foo"])("%j changes nothing", (query) => {
    expect(parseTarget(`/s3/bucket/key?${query}`)).toMatchObject({ ref: { url: "s3://bucket/key" }, subresource: undefined });
  });

  it.each(["acl", "tagging=", "x-id=GetObject&attributes", "partNumber=2", "response-content-type=a", "uploadId=x"])(
    "%j asks for something else than the object",
    (query) => {
      expect(parseTarget(`/s3/bucket/key?${query}`)).toMatchObject({ subresource: expect.stringMatching(/^[a-zA-Z-]+$/) });
    },
  );

  it("is not to be taken for a part of the key, nor the other way round", () => {
    expect(() => parseTarget("/s3/bucket/key%3FversionId=abc")).toThrow(/ends like \?versionId=/);
    expect(() => parseTarget("/s3/bucket/key%3FversionId%3Dabc?x-id=GetObject")).toThrow(/ends like \?versionId=/);
    expect(urlOf("/s3/bucket/key%3FversionId=abc?versionId=def")).toBe("s3://bucket/key?versionId=abc?versionId=def");
    expect(urlOf("/s3/bucket/key%3FversionId=a%20b")).toBe("s3://bucket/key?versionId=a b");
    expect(urlOf("/gs/bucket/key%3FversionId=abc")).toBe("gs://bucket/key?versionId=abc");
  });

  it("names a version of S3's as the object's URL does", () => {
    expect(urlOf("/s3/bucket/key?x-id=GetObject&versionId=3HL4kqtJ.l_v-40")).toBe("s3://bucket/key?versionId=3HL4kqtJ.l_v-40");
    expect(urlOf("/s3/bucket/key?versionId=null")).toBe("s3://bucket/key?versionId=null");
    for (const id of ["", "a%20b", "%zz", "a/b"]) expect(() => parseTarget(`/s3/bucket/key?versionId=${id}`)).toThrow();
  });
});
