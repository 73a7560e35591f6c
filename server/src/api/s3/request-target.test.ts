import { describe, expect, it } from "vitest";
import { type Addressing, isHost, PREFIXED, parseTarget as parse, type RequestTarget, TargetParser } from "./request-target.js";

function parseTarget(target: string): RequestTarget {
  return parse(target, "member:8081", PREFIXED);
}

function urlOf(target: string): string {
  return nameOf(parseTarget(target));
}

function nameOf(parsed: RequestTarget): string {
  return parsed.scope === "object" || parsed.scope === "bucket" ? parsed.ref.url : parsed.scope;
}

describe("the target of a request", () => {
  it.each([
    ["/s3/bucket/key", "s3://bucket/key"],
    ["/gs/bucket/key", "gs://bucket/key"],
    ["/s3/bucket/a/b/c.txt", "s3://bucket/a/b/c.txt"],
    ["/s3/bucket//a//b/", "s3://bucket//a//b/"],
    ["/s3/bucket/../x/./y", "s3://bucket/../x/./y"],
    ["/s3/bucket/a%2Fb%2f..%2Fc", "s3://bucket/a/b/../c"],
    ["/s3/bucket/a+b%2Bc", "s3://bucket/a b+c"],
    ["/gs/bucket/a+b%2Bc", "gs://bucket/a+b+c"],
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
    ["/s3/bucket", "s3"],
    ["/gs/bucket/", "gs"],
    ["/s3/bucket?list-type=2&prefix=/a?b/", "s3"],
    ["/s3/bucket/?location", "s3"],
  ])("%s is about a bucket", (target, scheme) => {
    const ref = { url: `${scheme}://bucket`, scheme, bucket: "bucket" };
    expect(parseTarget(target)).toMatchObject({ scope: "bucket", ref });
  });

  it.each(["/s3", "/s3/", "/gs/", "/s3?x-id=ListBuckets"])("%s is about all buckets", (target) => {
    expect(parseTarget(target)).toMatchObject({ scope: "service", scheme: target.slice(1, 3) });
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
    expect(parseTarget(target)).toEqual({ scope: "path", path });
  });
});

describe("a target at the root", () => {
  const root: Addressing = { form: "root", domains: ["s3.local", "eu.s3.local", "localhost"] };
  const at = (host: string, target: string): string => nameOf(parse(target, host, root));

  it.each([
    ["/", "service"],
    ["/?x-id=ListBuckets", "service"],
    ["/bucket", "s3://bucket"],
    ["/bucket/?location", "s3://bucket"],
    ["/bucket/key", "s3://bucket/key"],
    ["/bucket/a//../b%2Fc", "s3://bucket/a//../b/c"],
    ["/livez/x", "s3://livez/x"],
    ["http://10.0.0.1:9000/bucket/key", "s3://bucket/key"],
    ["http://bucket.s3.local:9000/key?x-id=GetObject", "s3://bucket/key"],
    ["http://bucket.s3.local", "s3://bucket"],
  ])("%s names %s", (target, name) => {
    for (const host of ["10.0.0.1:9000", "[::1]:9000", "s3.local", "S3.LOCAL:80", "", "member"])
      expect(at(host, target)).toBe(name);
  });

  it.each([
    ["bucket.s3.local", "s3://bucket/a/b"],
    ["bucket.s3.local:9000", "s3://bucket/a/b"],
    ["BUCKET.S3.local", "s3://bucket/a/b"],
    ["my.bucket.s3.local", "s3://my.bucket/a/b"],
    ["bucket.eu.s3.local", "s3://bucket/a/b"],
    ["bucket.localhost:9000", "s3://bucket/a/b"],
    ["eu.s3.local", "s3://abc/a/b"],
    ["xs3.local", "s3://abc/a/b"],
  ])("takes the bucket from the host %s", (host, name) => {
    expect(at(host, name.startsWith("s3://abc/") ? "/abc/a/b" : "/a/b")).toBe(name);
  });

  it("names a bucket by its virtual host and an empty path", () => {
    expect(at("bucket.s3.local", "/?list-type=2")).toBe("s3://bucket");
    expect(() => at("b.s3.local", "/key")).toThrow(/has no valid bucket/);
  });

  it.each([
    ["member", "/models/a+b%2Bc", "gs://models/a b+c"],
    ["member", "/models/key?versionId=12", "gs://models/key?generation=12"],
    ["member", "/models/", "gs://models"],
    ["models.s3.local", "/key", "gs://models/key"],
    ["models.s3.local", "/?list-type=2", "gs://models"],
    ["member", "/other/key", "s3://other/key"],
    ["member", "/gs/models/key", "s3://gs/models/key"],
  ])("takes the store of a bucket from the origins: %s%s", (host, target, name) => {
    const storeOf = (bucket: string) => (bucket === "models" ? "gs" : "s3");
    if (target.startsWith("/gs/")) expect(() => parse(target, host, { form: "root", domains: [], storeOf })).toThrow();
    else expect(nameOf(parse(target, host, { form: "root", domains: ["s3.local"], storeOf }))).toBe(name);
  });

  it.each(["*", "member:80", "", "ftp://x/bucket/key"])("%j names nothing", (target) => {
    expect(at("member", target)).toBe("path");
  });
});

describe("a Host header", () => {
  it.each(["", "member", "member:9000", "10.0.0.1:", "[::1]", "[fe80::1%25eth0]:80", "under_score.x"])("may be %j", (host) => {
    expect(isHost(host)).toBe(true);
  });

  it.each(["a b", "a/b", "a:b", "a:1:2", "::1", "[::1", "user@host", "a:123456", "a,b", "a?"])("may not be %j", (host) => {
    expect(isHost(host)).toBe(false);
  });
});

describe("the query of a request", () => {
  it.each(["x-id=GetObject", "X-Amz-Signature=%zz&X-Amz-Date=1", "", "&&", "=", "aclx", "foo"])(
    "%j changes no object",
    (query) => {
      expect(urlOf(`/s3/bucket/key?${query}`)).toBe("s3://bucket/key");
    },
  );

  it("is not to be taken for a part of the key, nor the other way round", () => {
    for (const target of ["/s3/bucket/key%3FversionId=abc", "/s3/bucket/key%3FversionId%3Dabc?x-id=GetObject"]) {
      expect(parseTarget(target)).toMatchObject({ ref: { key: "key?versionId=abc" }, isAmbiguous: true });
    }
    expect(parseTarget("/s3/bucket/key?versionId=abc")).not.toHaveProperty("isAmbiguous");
    expect(() => parseTarget("/gs/bucket/key%3Fgeneration=12")).toThrow(/ends like \?generation=/);
    expect(urlOf("/s3/bucket/key%3FversionId=abc?versionId=def")).toBe("s3://bucket/key?versionId=abc?versionId=def");
    expect(urlOf("/s3/bucket/key%3FversionId=a%20b")).toBe("s3://bucket/key?versionId=a b");
    expect(urlOf("/gs/bucket/key%3FversionId=abc")).toBe("gs://bucket/key?versionId=abc");
  });

  it("names a version of S3's as the object's URL does", () => {
    expect(urlOf("/s3/bucket/key?x-id=GetObject&versionId=3HL4kqtJ.l_v-40")).toBe("s3://bucket/key?versionId=3HL4kqtJ.l_v-40");
    expect(urlOf("/s3/bucket/key?versionId=null")).toBe("s3://bucket/key?versionId=null");
    expect(parseTarget("/s3/bucket/key?versionId=a")).toMatchObject({ bare: { url: "s3://bucket/key" }, versionId: "a" });
    for (const id of ["", "a%20b", "%zz", "a/b"]) expect(() => parseTarget(`/s3/bucket/key?versionId=${id}`)).toThrow();
  });

  it("names a generation of GCS's by both names", () => {
    for (const query of ["generation=12", "versionId=12", "generation=12&versionId=13"]) {
      expect(urlOf(`/gs/bucket/key?${query}`)).toBe("gs://bucket/key?generation=12");
    }
    for (const id of ["", "a", "-1", "1.5"])
      expect(() => parseTarget(`/gs/bucket/key?generation=${id}`)).toThrow("Invalid version id");
  });
});

describe("a parser of targets", () => {
  it("returns the same target for the same text, until many others were parsed", () => {
    const targets = new TargetParser(PREFIXED);
    const first = targets.parse("/s3/bucket/a%20key", "one");
    expect(first).toEqual(parse("/s3/bucket/a%20key", "one", PREFIXED));
    expect(targets.parse("/s3/bucket/a%20key", "two")).toBe(first);
    for (let key = 0; key < 1_024; key++) targets.parse(`/s3/bucket/${key}`, "one");
    const again = targets.parse("/s3/bucket/a%20key", "one");
    expect(again).toEqual(first);
    expect(again).not.toBe(first);
    const ofSdk = targets.parse("/s3/bucket/key?x-id=GetObject", "one");
    expect(ofSdk).toMatchObject({ ref: { url: "s3://bucket/key" } });
    expect(targets.parse("/s3/bucket/key?x-id=GetObject", "two")).toBe(ofSdk);
  });

  it("does not remember targets whose bucket depends on the host, targets with a query, and wrong ones", () => {
    const byHost = new TargetParser({ form: "root", domains: ["s3.local"] });
    expect(nameOf(byHost.parse("/bucket/key", "s3.local"))).toBe("s3://bucket/key");
    expect(nameOf(byHost.parse("/bucket/key", "other.s3.local"))).toBe("s3://other/bucket/key");
    const targets = new TargetParser(PREFIXED);
    expect(targets.parse("/s3/bucket/key?partNumber=1", "m")).not.toBe(targets.parse("/s3/bucket/key?partNumber=1", "m"));
    for (let attempt = 0; attempt < 2; attempt++) expect(() => targets.parse("/s3/bucket/%zz", "m")).toThrow();
  });
});
