import { CacheError } from "@frontcache/proto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { PassedAnswer } from "../../origin/origin.js";
import { bodyOf } from "../../origin/passed-body.js";
import { HttpFixture } from "../../testing/http-fixture.js";
import { rampBytes } from "../../testing/origin/ramp.js";
import type { RawAnswer, RawClient } from "../../testing/raw-client.js";

const OBJECT = rampBytes(0, 1000, 3);
/** The version of an object of three parts. */
const IN_PARTS = "0123456789abcdef0123456789abcdef-3";
const SIGNED = "Authorization: AWS4-HMAC-SHA256 Credential=a/b";

let fixture: HttpFixture;
let client: RawClient;

beforeEach(async () => {
  const options = { addressing: { form: "root", domains: [] } } as const;
  ({ fixture, client } = await HttpFixture.connected({ "s3://bucket/object": OBJECT, "s3://bucket/empty": "" }, options));
});

afterEach(() => fixture.closeAtRest(client));

const get = (query = "", ...headers: string[]): Promise<RawAnswer> => client.get(`/bucket/object${query}`, ...headers);
const codeOf = ({ status, body }: RawAnswer) => `${status} ${/<Code>(\w+)</.exec(body.toString())?.[1]}`;

function answer(status: number, headers: PassedAnswer["headers"], text = ""): PassedAnswer {
  return { status, headers, length: Buffer.byteLength(text), body: bodyOf(Buffer.from(text)) };
}

describe("a bucket of GCS at the S3 endpoint", () => {
  const options = {
    addressing: { form: "root", domains: [], storeOf: (name: string) => (name === "models" ? "gs" : "s3") },
  } as const;

  it("is read, listed once among all buckets, and has no sub-resources", async () => {
    const { fixture: mixed, client: reader } = await HttpFixture.connected({ "gs://models/object": OBJECT }, options);
    mixed.cache.bucketList = { buckets: [{ name: "models" }, { name: "lake" }, { name: "another" }] };
    expect((await reader.get("/models/object")).body.equals(OBJECT)).toBe(true);
    expect(mixed.cache.requests.map(({ ref }) => ref.url)).toEqual(["gs://models/object"]);
    const listed = (await reader.get("/")).body.toString();
    expect([...listed.matchAll(/<Name>(\w+)</g)].map(([, name]) => name)).toEqual(["another", "lake", "models"]);
    expect(codeOf(await reader.get("/models/object?acl"))).toBe("501 NotImplemented");
    await mixed.closeAtRest(reader);
  });
});

describe("a part of an object", () => {
  beforeEach(() => {
    fixture.cache.version = IN_PARTS;
    fixture.cache.passedAnswer = ({ query }) => {
      const part = Number(query.find(([name]) => name === "partNumber")?.[1]);
      if (part > 3) return answer(416, []);
      const [first, last] = [(part - 1) * 400, Math.min(1000, part * 400) - 1];
      const range = ["content-range", `bytes ${first}-${last}/1000`] as const;
      return answer(206, [["etag", `"${fixture.cache.version}"`], range, ["x-amz-mp-parts-count", "3"]]);
    };
  });

  it("is served from the cache, at the place that the origin is asked for once", async () => {
    // A version of its own, since what is known of parts is kept for all listeners.
    fixture.cache.version = IN_PARTS.replace("0", "1");
    for (let round = 0; round < 2; round++) {
      const { status, headers, body } = await get("?partNumber=2");
      expect([status, headers["content-range"], headers["x-amz-mp-parts-count"]]).toEqual([206, "bytes 400-799/1000", "3"]);
      expect(body.equals(OBJECT.subarray(400, 800))).toBe(true);
    }
    const head = await client.head("/bucket/object?partNumber=3");
    expect([head.status, head.headers["content-length"], head.headers["content-range"]]).toEqual([
      206,
      "200",
      "bytes 800-999/1000",
    ]);
    expect(fixture.cache.passed.map(({ method, query, headers }) => [method, query, headers])).toEqual([
      ["HEAD", [["partNumber", "2"]], [["if-match", `"${fixture.cache.version}"`]]],
      ["HEAD", [["partNumber", "3"]], [["if-match", `"${fixture.cache.version}"`]]],
    ]);
  });

  it("is refused if the object has no such part, and together with a range", async () => {
    expect(codeOf(await get("?partNumber=4"))).toBe("416 InvalidPartNumber");
    expect(codeOf(await get("?partNumber=1", "Range: bytes=0-1"))).toBe("400 InvalidRequest");
    for (const wrong of ["0", "10001", "x", "-1", "1.5", "", "%C3%A9", "99999999999999999999"]) {
      expect(codeOf(await get(`?partNumber=${wrong}`))).toBe("400 InvalidArgument");
    }
  });

  it("is the whole object if it was uploaded in one piece, without asking the origin", async () => {
    fixture.cache.version = "0123456789abcdef0123456789abcdef";
    const { status, headers, body } = await get("?partNumber=1");
    expect([status, headers["content-range"], headers["x-amz-mp-parts-count"]]).toEqual([206, "bytes 0-999/1000", undefined]);
    expect(body.equals(OBJECT)).toBe(true);
    expect(codeOf(await get("?partNumber=2"))).toBe("416 InvalidPartNumber");
    expect(await client.head("/bucket/empty?partNumber=1")).toMatchObject({ status: 200, headers: { "content-length": "0" } });
    expect(fixture.cache.passed).toEqual([]);
  });

  it("is the origin's answer if the origin does not know parts", async () => {
    fixture.cache.version = "x-1";
    fixture.cache.passedAnswer = () => answer(200, [["etag", '"x-1"']], "all");
    const { status, headers, body } = await get("?partNumber=1");
    expect([status, headers["x-cache"], body.toString()]).toEqual([200, "BYPASS", "all"]);
  });
});

describe("headers in place of the object's", () => {
  it("are taken from the query of a signed request, for GET, HEAD and ranges", async () => {
    fixture.cache.headers = "cache-control: max-age=1\r\ncontent-encoding: gzip\r\n";
    const query =
      "?response-content-type=text%2Fhtml&response-cache-control=no-store&response-content-disposition=attachment%3B%20filename%3D%22%C3%A9%22" +
      "&response-content-language=de&response-expires=Wed&response-content-encoding=identity";
    const expected = {
      "content-type": "text/html",
      "cache-control": "no-store",
      "content-disposition": 'attachment; filename="\u00c3\u00a9"',
      "content-language": "de",
      expires: "Wed",
      "content-encoding": "identity",
    };
    expect((await get(query, SIGNED)).headers).toMatchObject(expected);
    expect((await get(query, SIGNED, "Range: bytes=0-1")).headers).toMatchObject(expected);
    expect((await client.head(`/bucket/object${query}`, SIGNED)).headers).toMatchObject(expected);
    expect((await get(`${query}&AWSAccessKeyId=a&Signature=b&Expires=99999999999`)).headers).toMatchObject(expected);
    expect((await get("", SIGNED)).headers).toMatchObject({ "content-type": "text/plain", "cache-control": "max-age=1" });
  });

  it("are refused if the signature has expired, whoever signed", async () => {
    fixture.clock.advance(5_000);
    const date = new Date(fixture.clock.nowMs() - 5_000).toISOString().replaceAll(/[-:]|\.\d+/g, "");
    const signed = (seconds: number) =>
      get(`?X-Amz-Credential=a%2F20261101%2Fr%2Fs3%2Faws4_request&X-Amz-Date=${date}&X-Amz-Expires=${seconds}&X-Amz-Signature=0`);
    expect((await signed(6)).status).toBe(200);
    const refused = await signed(4);
    expect([codeOf(refused), refused.body.toString()]).toEqual([
      "403 AccessDenied",
      expect.stringContaining("Request has expired"),
    ]);
    expect(codeOf(await signed(-1))).toBe("403 AccessDenied");
  });

  it("are refused without a signature, with another name, and with a value that is not valid in a header", async () => {
    expect(codeOf(await get("?response-content-type=a"))).toBe("400 InvalidRequest");
    expect(codeOf(await get("?response-etag=a", SIGNED))).toBe("400 InvalidArgument");
    expect(codeOf(await get("?response-content-type=a%0D%0AX:y", SIGNED))).toBe("400 InvalidArgument");
    expect(codeOf(await get("?response-content-type=%zz", SIGNED))).toBe("400 InvalidURI");
  });
});

describe("a request that the cache cannot answer", () => {
  it.each([
    ["", "x-amz-server-side-encryption-customer-algorithm: AES256"],
    ["", "x-amz-expected-bucket-owner: 111122223333"],
    ["", "Cache-Control: no-store"],
    ["%3FversionId=abc", "x-amz-meta: 1"],
  ])("is passed on with its headers, and the origin's answer is not kept (%s %s)", async (suffix, header) => {
    fixture.cache.passedAnswer = () =>
      answer(
        203,
        [
          ["etag", '"o"'],
          ["x-amz-request-id", "theirs"],
          ["server", "S"],
          ["x-amz-charged", "requester"],
        ],
        "from the origin",
      );
    const signature = "AWSAccessKeyId=a&Signature=b&Expires=99999999999&response-content-type=a&x-id=GetObject";
    const { status, headers, body } = await get(`${suffix}?${signature}`, header, SIGNED, "Range: bytes=0-3", "Cookie: c");
    expect([status, headers.etag, headers["x-cache"], body.toString()]).toEqual([203, '"o"', "BYPASS", "from the origin"]);
    expect([headers.server, headers["x-amz-charged"]]).toEqual([undefined, "requester"]);
    expect(headers["x-amz-request-id"]).not.toBe("theirs");
    const [name, value] = header.split(": ");
    const own = name!.startsWith("x-amz-") ? [[name, value]] : [];
    expect(fixture.cache.passed).toMatchObject([
      { ref: { key: suffix === "" ? "object" : "object?versionId=abc" }, method: "GET", query: [["response-content-type", "a"]] },
    ]);
    expect(new Map(fixture.cache.passed[0]!.headers)).toEqual(new Map([...own, ["range", "bytes=0-3"]] as [string, string][]));
    expect(fixture.cache.requests).toEqual([]);
  });

  it("gets the origin's length of a HEAD", async () => {
    fixture.cache.passedAnswer = () => ({ ...answer(200, [["content-length", "1000"]]), length: 0 });
    const { status, headers } = await client.head("/bucket/object", "Cache-Control: no-store");
    expect([status, headers["content-length"]]).toEqual([200, "1000"]);
  });

  it("is answered with S3's error if the origin cannot be asked", async () => {
    fixture.cache.passedAnswer = () => {
      throw new CacheError("UNAVAILABLE", "the origin is away");
    };
    expect(codeOf(await get("", "Cache-Control: no-store"))).toBe("503 ServiceUnavailable");
  });

  it("is refused if it has headers of writes", async () => {
    expect(codeOf(await get("", "x-amz-server-side-encryption: aws:kms"))).toBe("400 InvalidRequest");
    expect((await client.head("/bucket/object", "x-amz-server-side-encryption-context: e30=")).status).toBe(400);
  });
});

describe("an error whose details only the origin knows", () => {
  const document = "<Error><Code>TheirCode</Code></Error>";

  beforeEach(() => {
    fixture.cache.passedAnswer = () =>
      answer(
        405,
        [
          ["x-amz-delete-marker", "true"],
          ["content-type", "application/xml"],
        ],
        document,
      );
  });

  it("of a version is the origin's own answer", async () => {
    const { status, headers, body } = await get("?versionId=gone");
    expect([status, headers["x-amz-delete-marker"], body.toString()]).toEqual([405, "true", document]);
    expect(fixture.cache.passed).toMatchObject([{ ref: { url: "s3://bucket/object" }, query: [["versionId", "gone"]] }]);
  });

  it("of an archived object, and of a client that pays, is the origin's own answer", async () => {
    fixture.cache.beforeAnswer = () => {
      fixture.cache.beforeAnswer = undefined;
      throw new CacheError("PERMISSION_DENIED", "archived", { s3Code: "InvalidObjectState" });
    };
    expect((await get()).body.toString()).toBe(document);
    fixture.cache.beforeAnswer = () => {
      fixture.cache.beforeAnswer = undefined;
      throw new CacheError("PERMISSION_DENIED", "denied");
    };
    expect((await get("", "x-amz-request-payer: requester")).body.toString()).toBe(document);
  });

  it("of a missing bucket has S3's code without asking again", async () => {
    fixture.cache.beforeAnswer = () => {
      throw new CacheError("NOT_FOUND", "no bucket", { s3Code: "NoSuchBucket" });
    };
    expect(codeOf(await get())).toBe("404 NoSuchBucket");
    expect(codeOf(await get("?versionId=a"))).toBe("404 NoSuchBucket");
    expect(fixture.cache.passed).toEqual([]);
    fixture.cache.beforeAnswer = undefined;
  });
});

describe("a range that has no byte of the object", () => {
  it("is refused with the range and the size of the object in S3's document", async () => {
    for (const [key, range, size] of [
      ["object", "bytes=2000-", 1000],
      ["object", "bytes=-0", 1000],
      ["empty", "bytes=0-9", 0],
    ]) {
      const refused = await client.get(`/bucket/${key}`, `Range: ${range}`);
      expect(codeOf(refused)).toBe("416 InvalidRange");
      expect(refused.body.toString()).toContain(
        `<RangeRequested>${range}</RangeRequested><ActualObjectSize>${size}</ActualObjectSize>`,
      );
      expect(refused.headers["content-range"]).toBe(`bytes */${size}`);
    }
  });
});

describe("the cache control of a request", () => {
  it("has the record confirmed by the origin: no-cache, Pragma, and max-age if the record is older", async () => {
    fixture.cache.statFreshness = { ageMs: 5_000 };
    for (const header of ["Cache-Control: no-cache", "Pragma: no-cache", "Cache-Control: max-age=0"])
      expect((await get("", header)).status).toBe(200);
    expect(fixture.cache.stats.map(({ confirmed }) => confirmed)).toEqual([true, true, true]);
    fixture.cache.stats.length = 0;
    expect((await get("", "Cache-Control: max-age=6")).headers["x-cache"]).toBe("HIT");
    expect((await get("", "Cache-Control: max-age=4")).status).toBe(200);
    expect(fixture.cache.stats.map(({ confirmed }) => confirmed)).toEqual([false, false, true]);
    expect((await get("", "Cache-Control: max-age=x, private", "Range: bytes=0-1")).status).toBe(206);
    expect(fixture.cache.stats).toHaveLength(3);
  });

  it("keeps the origin from being asked: only-if-cached", async () => {
    fixture.cache.describesReads = false;
    const only = "Cache-Control: only-if-cached";
    expect((await get("", only)).body.equals(OBJECT)).toBe(true);
    expect((await get("", only, "Range: bytes=-10")).body.equals(OBJECT.subarray(990))).toBe(true);
    expect((await client.head("/bucket/object", only)).headers["content-length"]).toBe("1000");
    expect((await get("", only, 'If-None-Match: "v1"')).status).toBe(304);
    expect(codeOf(await client.get("/bucket/missing", only))).toBe("504 GatewayTimeout");
    expect(fixture.cache.requests.every(({ cachedOnly }) => cachedOnly)).toBe(true);
    expect([fixture.cache.stats, fixture.cache.passed]).toEqual([[], []]);
  });

  it("fetches nothing with frontcache-warm for a client that may not read the object", async () => {
    fixture.cache.beforeStat = () => Promise.reject(new CacheError("PERMISSION_DENIED", "no", { s3Code: "AccessDenied" }));
    expect((await client.head("/bucket/object", "frontcache-warm: 1")).status).toBe(403);
    expect(fixture.cache.warmings).toEqual([]);
  });

  it("only fetches the object into the cache with frontcache-warm", async () => {
    const head = await client.head("/bucket/object", "Range: bytes=0-0", "frontcache-warm: 1");
    expect([head.status, head.headers["content-length"], head.headers.etag]).toEqual([200, "1000", '"v1"']);
    client.request("GET", "/bucket/object", "frontcache-warm: 1");
    expect((await client.answer(false)).status).toBe(204);
    expect(fixture.cache.warmings.map(({ objects }) => objects[0]!.ref.url)).toEqual([
      "s3://bucket/object",
      "s3://bucket/object",
    ]);
    expect(fixture.cache.requests).toEqual([]);
  });
});

describe("the checksums of an object", () => {
  it("are asked of the origin once, for a whole object and a client that wants them", async () => {
    fixture.cache.headers = "x-amz-checksum-crc32: AAAAAA==\r\n";
    fixture.cache.readsLack = "checksums";
    for (let round = 0; round < 2; round++) {
      expect((await get("", "x-amz-checksum-mode: ENABLED")).headers["x-amz-checksum-crc32"]).toBe("AAAAAA==");
    }
    expect((await get("", "x-amz-checksum-mode: ENABLED", "Range: bytes=0-9")).headers["x-amz-checksum-crc32"]).toBeUndefined();
    expect((await get()).headers["x-amz-checksum-crc32"]).toBeUndefined();
    expect(fixture.cache.stats.every(({ checksums }) => checksums)).toBe(true);
  });
});
