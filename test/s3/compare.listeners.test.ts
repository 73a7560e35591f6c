import { type RawAnswer, RawClient } from "@frontcache/server/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { rampBytes, S3Emulator } from "../emulators/s3.js";
import { HttpStack } from "./http-stack.js";

/** Several blocks, with incomplete segments. */
const LARGE_BYTES = 700_001;

let store: S3Emulator;
let stack: HttpStack;
let toStore: RawClient;
let toMember: RawClient;

beforeAll(async () => {
  store = await S3Emulator.start();
  stack = await HttpStack.open(store.endpoint);
  store.put("bucket", "plain", rampBytes(0, 1000, 3), { contentType: "text/plain; charset=utf-8" });
  store.put("bucket", "empty", "");
  store.put("bucket", "large", rampBytes(0, LARGE_BYTES, 5));
  [toStore, toMember] = [await RawClient.connect(Number(new URL(store.endpoint).port)), await stack.connect()];
});

afterAll(async () => {
  await toStore[Symbol.asyncDispose]();
  await toMember[Symbol.asyncDispose]();
  await stack[Symbol.asyncDispose]();
  await store.close();
});

/** The visible parts of a response. Messages and ids of errors may differ; their codes must not. */
function seen(method: string, { status, headers, body }: RawAnswer): unknown {
  const compared = ["etag", "last-modified", "content-type", "accept-ranges", "content-range", "content-length"];
  if (status === 304) return { status, etag: headers.etag };
  if (status >= 400) {
    const code = method === "HEAD" ? undefined : /<Code>(\w+)<\/Code>/.exec(body.toString())?.[1];
    return { status, code, type: headers["content-type"], range: headers["content-range"] };
  }
  return {
    status,
    headers: compared.map((name) => headers[name]),
    body: body.toString("base64").slice(0, 64),
    length: body.length,
  };
}

/** Sends the same request to both and expects equal responses, including all bytes. */
async function compare(method: "GET" | "HEAD", path: string, ...headers: string[]): Promise<void> {
  toStore.request(method, path, ...headers);
  toMember.request(method, `/s3${path}`, ...headers);
  const [expected, actual] = await Promise.all([toStore.answer(method !== "HEAD"), toMember.answer(method !== "HEAD")]);
  const request = `${method} ${path} ${headers.join(", ")}`;
  expect(seen(method, actual), request).toEqual(seen(method, expected));
  if (expected.status < 300) expect(actual.body.equals(expected.body), request).toBe(true);
}

const ranges = [
  undefined,
  "bytes=0-0",
  "bytes=0-9",
  "bytes=999-999",
  "bytes=999-1000",
  "bytes=1000-",
  "bytes=1000-2000",
  "bytes=5-",
  "bytes=0-",
  "bytes=-1",
  "bytes=-10",
  "bytes=-1000",
  "bytes=-1000000",
  "bytes=-0",
  "bytes=500-1000000000000000000000",
  "bytes=1000000000000000000000-",
  "bytes=-1000000000000000000000",
  "bytes=9-5",
  "bytes=-",
  "bytes=",
  "bytes",
  "bytes=a-b",
  "bytes=0-1,5-6",
  "bytes=0-1, 5-6",
  "bytes=1-2-3",
  "bytes= 0-9",
  "lines=0-9",
];

describe("the S3 endpoint answers like the origin", () => {
  const conditions: ((etag: string) => string[])[] = [
    () => [],
    (etag) => [`If-Match: ${etag}`],
    () => ['If-Match: "of another version"'],
    () => ["If-Match: *"],
    (etag) => [`If-Match: "x", ${etag}`],
    () => ['If-Match: "x", "y"'],
    (etag) => [`If-Match: W/${etag}`],
    () => ["If-Match:"],
    (etag) => [`If-None-Match: ${etag}`],
    () => ["If-None-Match: *"],
    () => ['If-None-Match: "x"'],
    (etag) => [`If-None-Match: "x",${etag}`],
    () => ['If-None-Match: "x", "y"'],
    () => ["If-None-Match:"],
    (etag) => [`If-Match: ${etag}`, 'If-None-Match: "x"'],
    (etag) => [`If-Match: ${etag}`, `If-None-Match: ${etag}`],
    (etag) => ['If-Match: "x"', `If-None-Match: ${etag}`],
  ];

  it.each(["plain", "empty"])("to every range with every condition, for an object that is %s", async (key) => {
    const etag = store.objects.get("bucket", key)!.version;
    for (const range of ranges) {
      for (const condition of conditions) {
        const headers = [...condition(etag), ...(range === undefined ? [] : [`Range: ${range}`])];
        await compare("GET", `/bucket/${key}`, ...headers);
        await compare("HEAD", `/bucket/${key}`, ...headers);
      }
    }
  });

  it("to ranges across blocks, cold and cached", async () => {
    const edges = [0, 1, 65_535, 65_536, 262_143, 262_144, 524_288, LARGE_BYTES - 1, LARGE_BYTES, LARGE_BYTES + 1];
    for (let round = 0; round < 2; round++) {
      for (const first of edges) {
        for (const last of ["", ...edges.filter((edge) => edge >= first)])
          await compare("GET", "/bucket/large", `Range: bytes=${first}-${last}`);
        await compare("GET", "/bucket/large", `Range: bytes=-${first}`);
      }
      await compare("GET", "/bucket/large");
    }
  });

  it("to requests for missing objects", async () => {
    for (const method of ["GET", "HEAD"] as const) {
      for (const range of ["bytes=0-9", "bytes=-1", "x"]) {
        await compare(method, "/bucket/missing", `Range: ${range}`);
        await compare(method, "/bucket/missing", `Range: ${range}`, 'If-Match: "x"');
        await compare(method, "/bucket/missing", `Range: ${range}`, "If-None-Match: *");
      }
    }
  });

  it("to the queries of SDKs", async () => {
    await compare("GET", "/bucket/plain?x-id=GetObject", "Range: bytes=1-3");
    await compare("GET", "/bucket/plain?AWSAccessKeyId=a&Signature=0&Expires=99999999999");
  });
});

describe("odd keys", () => {
  it.each([
    "a%20b",
    "a+b",
    "a%2Bb",
    "a%2Fb",
    "a/b/",
    "/leading",
    "a//b",
    "..",
    "../up",
    "a/../b",
    "a/./b",
    "./here",
    "%2E%2E/x",
    "%25",
    "%2525",
    "%C3%A9t%C3%A9",
    "%F0%9F%90%98",
    "a%3Fversions",
    "a%23fragment",
    "a&b=c;d@e:f,g$h!i'(j)*",
    "%22%3C%3E%5B%5D%5E%60%7B%7C%7D",
    "%00",
    "a%0D%0Ab",
    "%EF%BB%BFbom",
    "e%CC%81",
    "k".repeat(1024),
  ])("%s names the same object at both", async (path) => {
    const key = decodeURIComponent(path.replaceAll("+", " "));
    // Two paths may have the same key: its object must not be overwritten, which the cache would notice only later.
    if (store.objects.get("odd-keys", key) === undefined) store.put("odd-keys", key, `the object of ${key}`);
    await compare("GET", `/odd-keys/${path}`);
    await compare("GET", `/odd-keys/${path}`, "Range: bytes=-5");
    await compare("HEAD", `/odd-keys/${path}`);
    expect((await toMember.get(`/s3/odd-keys/${path}`)).body.toString()).toBe(`the object of ${key}`);
  });

  it.each(["%", "%4", "%GG", "%FF", "%C3", "%ED%A0%80"])("%s is malformed at both", async (path) => {
    await compare("GET", `/odd-keys/${path}`);
  });
});

describe("listings", () => {
  beforeAll(() => {
    for (const key of ["a/1", "a/2", "a/b/3", "a/b/4", "a/c d/5", "a/", "x", "über/日本&<>", "a+b%20c", "tab\t", "\u0001"]) {
      store.put("listed", key, key);
    }
    store.objects.createBucket("void");
    for (let at = 0; at < 1_005; at++) store.put("full", `k${at}`, "");
  });

  const queries = [
    "list-type=2",
    "list-type=2&prefix=a/",
    "list-type=2&prefix=a%2F&delimiter=%2F",
    "list-type=2&prefix=a/&delimiter=/&encoding-type=url",
    "list-type=2&delimiter=b/",
    "list-type=2&prefix=%C3%BC",
    "list-type=2&encoding-type=url",
    "list-type=2&encoding-type=url&prefix=a%2Bb%2520",
    "list-type=2&prefix=a/c+d",
    "list-type=2&max-keys=3",
    "list-type=2&max-keys=0",
    "list-type=2&max-keys=",
    "list-type=2&max-keys=5000",
    "list-type=2&max-keys=-1",
    "list-type=2&max-keys=1e2",
    "list-type=2&max-keys=99999999999",
    "list-type=2&start-after=a/2",
    "list-type=2&start-after=a%2Bb&encoding-type=url",
    "list-type=2&start-after=zzz",
    "list-type=2&prefix=nothing",
    "list-type=2&prefix=",
    "list-type=2&encoding-type=xml",
    "list-type=2&continuation-token=",
    "list-type=2&fetch-owner=true",
    "list-type=2&x-id=ListObjectsV2&AWSAccessKeyId=a&Signature=0&Expires=99999999999",
    "prefix=a&list-type=2&prefix=b",
    "list-type=2&prefix=a/&max-keys=1&delimiter=/&start-after=a/1",
    "location",
    "location=",
    "",
    "prefix=a",
    "prefix=a/&delimiter=/&encoding-type=url",
    "max-keys=2",
    "max-keys=2&delimiter=/",
    "max-keys=0",
    "marker=a/2&max-keys=2",
    "marker=a/b/&delimiter=/&prefix=a/",
    "marker=zzz",
    "marker=a%2Bb&encoding-type=url",
    "encoding-type=xml",
    "max-keys=blah",
  ];

  const few = ["list-type=2", "list-type=2&max-keys=0", "list-type=2&max-keys=5000&encoding-type=url", "location"];

  it.each([
    ["listed", queries],
    ["void", queries],
    ["full", few],
    ["missing", few],
  ])("of a bucket that is %s equal the store's", async (bucket, asked) => {
    for (const query of asked) {
      await compare("GET", `/${bucket}?${query}`);
      await compare("GET", `/${bucket}/?${query}`);
    }
    await compare("HEAD", `/${bucket}`);
    await compare("HEAD", `/${bucket}/`);
  });

  it.each(["", "&delimiter=/&encoding-type=url", "&prefix=a/"])("in pages equal the store's (%s)", async (query) => {
    let token = "";
    for (let pages = 1; ; pages++) {
      const path = `/listed?list-type=2&max-keys=2${query}${token}`;
      await compare("GET", path);
      const next = /<NextContinuationToken>([^<]*)</.exec((await toMember.get(`/s3${path}`)).body.toString())?.[1];
      if (next === undefined) {
        expect(pages).toBeGreaterThan(2);
        break;
      }
      token = `&continuation-token=${encodeURIComponent(next)}`;
    }
  });

  it("are not cached: new and deleted objects appear immediately", async () => {
    store.put("fresh", "one", "1");
    await compare("GET", "/fresh?list-type=2");
    store.put("fresh", "two", "2");
    store.delete("fresh", "one");
    await compare("GET", "/fresh?list-type=2");
    expect((await toMember.get("/s3/fresh?list-type=2")).body.toString()).toContain("<KeyCount>1<");
  });

  it("that the store refuses are refused with the same code", async () => {
    store.faults.place({ error: { status: 403, code: "AccessDenied" } });
    await compare("GET", "/listed?list-type=2");
    await compare("HEAD", "/listed");
    store.faults.clear();
  });
});

describe("an overwritten object", () => {
  it("stays readable in the version of If-Match while that is cached, and is never mixed with the new one", async () => {
    const old = rampBytes(0, 100_000, 1);
    const version = store.put("bucket", "changing", old);
    expect((await toMember.get("/s3/bucket/changing")).body.equals(old)).toBe(true);
    await stack.local.settled();
    store.put("bucket", "changing", rampBytes(0, 100_000, 2));
    const cached = await toMember.get("/s3/bucket/changing", `If-Match: "${version}"`, "Range: bytes=10-19");
    expect([cached.status, cached.body.equals(old.subarray(10, 20))]).toEqual([206, true]);
    const { status } = await toMember.get("/s3/bucket/changing", 'If-Match: "never seen"', "Range: bytes=10-19");
    expect(status).toBe(412);
  });
});
