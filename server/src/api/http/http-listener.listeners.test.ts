import { once } from "node:events";
import { eventually } from "@frontcache/proto/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../runtime/clock.js";
import { HttpFixture, NOTHING_LEFT } from "../../testing/http-fixture.js";
import { noLimits } from "../../testing/no-limits.js";
import { noSecurity } from "../../testing/no-security.js";
import type { RawClient } from "../../testing/raw-client.js";
import { Clients } from "../limits/clients.js";
import { Cors } from "../s3/cors.js";
import { objectSite } from "../s3/object-site.js";
import { PREFIXED } from "../s3/request-target.js";
import { textPage } from "./pages.js";

let fixture: HttpFixture;
let client: RawClient;

beforeEach(async () => {
  fixture = await HttpFixture.open();
  fixture.put("s3://bucket/object", "0123456789");
  fixture.put("gs://bucket/object", "abcdefghij");
  client = await fixture.connect();
});

afterEach(async () => {
  await client[Symbol.asyncDispose]();
  await eventually(() => expect(fixture.left()).toEqual(NOTHING_LEFT));
  await fixture[Symbol.asyncDispose]();
});

/** A hook for reads that end when their client leaves. */
function untilAborted(signal: AbortSignal | undefined): Promise<void> {
  return new Promise((_, reject) => signal!.addEventListener("abort", () => reject(signal!.reason), { once: true }));
}

describe("the HTTP listener", () => {
  it("serves objects of both stores, and many requests on one connection", async () => {
    for (let round = 0; round < 3; round++) {
      expect((await client.get("/s3/bucket/object")).body.toString()).toBe("0123456789");
      expect((await client.get("/gs/bucket/object", "Range: bytes=2-3")).body.toString()).toBe("cd");
      expect((await client.get("/s3/bucket/missing")).status).toBe(404);
    }
    expect(fixture.listener.openConnections).toBe(1);
  });

  it.each(["PUT", "POST", "DELETE", "PATCH"])("rejects %s as S3 does", async (method) => {
    client.request(method, "/s3/bucket/object", "Content-Length: 0");
    const { status, headers, body } = await client.answer();
    expect([status, headers.allow]).toEqual([405, "GET, HEAD"]);
    expect(body.toString()).toContain("<Code>MethodNotAllowed</Code>");
    expect((await client.get("/s3/bucket/object")).status).toBe(200);
  });

  it("discards the body of a rejected request without asking for it", async () => {
    client.request("PUT", "/s3/bucket/object", "Content-Length: 300000");
    client.send(Buffer.alloc(300_000));
    expect((await client.answer()).status).toBe(405);
    client.request("PUT", "/s3/bucket/object", "Transfer-Encoding: chunked");
    client.send("5\r\nhello\r\n0\r\n\r\n");
    expect((await client.answer()).status).toBe(405);
    expect((await client.get("/s3/bucket/object")).status).toBe(200);
    client.request("PUT", "/s3/bucket/object", "Content-Length: 300000", "Expect: 100-continue");
    expect(await client.answer()).toMatchObject({ status: 405, headers: { connection: "close" } });
  });

  it.each(["/gs/bucket/object?tagging", "/gs/bucket?versions", "/s3/bucket?session", "/s3/bucket/object?annotation"])(
    "answers %s with 501 NotImplemented",
    async (target) => {
      const { status, body } = await client.get(target);
      expect([status, /<Code>(\w+)</.exec(body.toString())?.[1]]).toEqual([501, "NotImplemented"]);
    },
  );

  it.each([
    ["GET", "/s3/bucket/object?restore", "POST"],
    ["HEAD", "/s3/bucket/object?acl", "GET, PUT"],
    ["HEAD", "/s3", "GET"],
  ])("answers %s of %s with 405 and the methods that S3 has for it", async (method, target, allow) => {
    client.request(method, target);
    expect(await client.answer(method !== "HEAD")).toMatchObject({ status: 405, headers: { allow } });
  });

  it("answers two sub-resources with 400 InvalidArgument", async () => {
    const { status, body } = await client.get("/s3/bucket/object?acl&tagging");
    expect([status, body.toString()]).toEqual([400, expect.stringContaining("<Code>InvalidArgument</Code>")]);
  });

  it.each([
    ["/s3/bucket?acl", "s3://bucket", []],
    [
      "/s3/bucket?versions&list-type=2&prefix=a+b",
      "s3://bucket",
      [
        ["list-type", "2"],
        ["prefix", "a b"],
      ],
    ],
    ["/s3/bucket/?policyStatus=&AWSAccessKeyId=a&Signature=0&Expires=99999999999&x-id=GetBucketPolicyStatus", "s3://bucket", []],
    ["/s3/bucket/object?tagging&versionId=v1", "s3://bucket/object", [["versionId", "v1"]]],
  ])("passes %s on to the origin with its own parameters only", async (target, url, parameters) => {
    const { status, headers, body } = await client.get(target);
    expect([status, body.toString(), headers["x-cache"]]).toEqual([200, url, "BYPASS"]);
    const { ref, query } = fixture.cache.passed.at(-1)!;
    expect(ref.url).toBe(url);
    expect(query.filter(([name]) => !["acl", "versions", "policyStatus", "tagging"].includes(name))).toEqual(parameters);
  });

  it("passes S3's headers on to the origin, except for those of signatures", async () => {
    const sent = ["x-amz-object-attributes: ETag,Checksum", "x-amz-date: 20240101T000000Z", "authorization: AWS4-HMAC-SHA256 x"];
    client.request("GET", "/s3/bucket/object?attributes", ...sent, "accept: */*");
    expect((await client.answer()).status).toBe(200);
    expect(fixture.cache.passed.at(-1)!.headers).toEqual([["x-amz-object-attributes", "ETag,Checksum"]]);
  });

  it.each(["/s3", "/s3/", "/s3?x-id=ListBuckets"])("lists the buckets at %s", async (target) => {
    fixture.cache.bucketList = { buckets: [{ name: "lake", createdMs: 0, region: "eu-central-1" }, { name: "logs" }] };
    const { status, body } = await client.get(target);
    const names = [...body.toString().matchAll(/<Name>([^<]*)</g)].map(([, name]) => name);
    expect([status, names]).toEqual([200, ["lake", "logs"]]);
    expect(body.toString()).toContain("<BucketRegion>eu-central-1</BucketRegion>");
  });

  it.each(["max-buckets=0", "max-buckets=10001", "max-buckets=x"])(
    "answers a list of buckets with %s with 400",
    async (query) => {
      expect((await client.get(`/s3?${query}`)).status).toBe(400);
    },
  );

  it.each(["s3", "gs"])("lists a bucket of %s in the format of S3", async (scheme) => {
    const objects = [
      { key: "a&b", objectSize: 5, version: "v1", lastModifiedMs: 1_700_000_000_123, storageClass: "COLD" },
      { key: "\u0001 \ufffe", objectSize: 0 },
    ];
    fixture.cache.listing = { objects, prefixes: ["c d/"], nextToken: "t=&" };
    const { status, body } = await client.get(
      `/${scheme}/bucket?list-type=2&prefix=a+%2B&delimiter=/&max-keys=7&continuation-token=u`,
    );
    expect(status).toBe(200);
    expect(body.toString()).toBe(
      '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">' +
        "<Name>bucket</Name><Prefix>a +</Prefix><ContinuationToken>u</ContinuationToken>" +
        "<NextContinuationToken>t=&#38;</NextContinuationToken><KeyCount>3</KeyCount><MaxKeys>7</MaxKeys>" +
        "<Delimiter>/</Delimiter><IsTruncated>true</IsTruncated>" +
        "<Contents><Key>a&#38;b</Key><LastModified>2023-11-14T22:13:20.123Z</LastModified><ETag>&#34;v1&#34;</ETag>" +
        "<Size>5</Size><StorageClass>COLD</StorageClass></Contents>" +
        "<Contents><Key>&#1; &#65534;</Key><Size>0</Size><StorageClass>STANDARD</StorageClass></Contents>" +
        "<CommonPrefixes><Prefix>c d/</Prefix></CommonPrefixes></ListBucketResult>",
    );
    expect(fixture.cache.lists).toMatchObject([
      { ref: { scheme, bucket: "bucket", prefix: "a +" }, page: { delimiter: "/", maxKeys: 7, token: "u" } },
    ]);
  });

  it("returns the resource of an error without its query", async () => {
    const secret = "AWSAccessKeyId=secret&Signature=secret&Expires=99999999999&X-Amz-Security-Token=secret";
    for (const target of [
      `/gs/bucket/object?acl&${secret}`,
      `/s3/bucket/missing?${secret}`,
      `http://member/gs/bucket/a%zz?${secret}`,
      `/gs/bucket?acl&${secret}`,
      `/s3?max-buckets=x&${secret}`,
      `/elsewhere?${secret}`,
    ]) {
      const body = (await client.get(target)).body.toString();
      expect(body).not.toContain("secret");
      expect(body).toMatch(/<Resource>(\/bucket(\/(object|missing|a%zz))?|\/|\/elsewhere)<\/Resource>/);
    }
  });

  it("answers HEAD of buckets, and rejects writes to them", async () => {
    expect((await client.head("/s3/bucket")).status).toBe(200);
    expect((await client.head("/gs/missing/")).status).toBe(404);
    for (const method of ["PUT", "DELETE", "POST"]) {
      client.request(method, "/s3/bucket?delete", "Content-Length: 0");
      expect((await client.answer()).status).toBe(405);
    }
    const location = async () => (await client.get("/s3/bucket?location")).body.toString();
    expect(await location()).toContain('<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/"/>');
    fixture.cache.region = "eu-west-3";
    expect(await location()).toContain('2006-03-01/">eu-west-3</LocationConstraint>');
    const { status, body } = await client.get("/gs/missing?location");
    expect([status, /<Code>(\w+)</.exec(body.toString())?.[1]]).toEqual([404, "NoSuchBucket"]);
  });

  it("aborts a listing when the client disconnects", async () => {
    let stopped = false;
    fixture.cache.beforeAnswer = (signal) =>
      untilAborted(signal).catch((reason) => {
        stopped = true;
        throw reason;
      });
    client.request("GET", "/s3/bucket?list-type=2");
    await eventually(() => expect(fixture.left().running).toBe(1));
    client.socket.destroy();
    await eventually(() => expect(stopped).toBe(true));
    expect(fixture.logged).toEqual([]);
  });

  it.each(["/", "/index.html", "/S3/bucket/object", "*"])("returns 404 for %s", async (target) => {
    const { status, body } = await client.get(target);
    expect(status).toBe(404);
    expect(body.toString()).toContain("objects are at /s3/");
  });

  it.each([
    ["/s3/bucket/%zz", "InvalidURI"],
    ["/s3/bucket/%FF", "InvalidURI"],
    ["/s3/b/key", "InvalidBucketName"],
    ["/s3/b", "InvalidBucketName"],
    ["/gs/buck%65t/?list-type=2", "InvalidBucketName"],
    [`/s3/bucket/${"k".repeat(1025)}`, "KeyTooLongError"],
  ])("returns 400 for the malformed path %s, with S3's code %s", async (target, code) => {
    const { status, body } = await client.get(target);
    expect(status).toBe(400);
    expect(body.toString()).toContain(`<Code>${code}</Code>`);
  });

  it("limits the length of a path", async () => {
    expect((await client.get(`/s3/bucket/object?${"a".repeat(8_000)}`)).status).toBe(200);
    expect((await client.get(`/s3/bucket/object?${"a".repeat(8_192)}`)).status).toBe(414);
  });
});

describe("Kubernetes probes", () => {
  it("report that the HTTP listener is alive and ready", async () => {
    for (const path of ["/livez", "/readyz", "/readyz?verbose"]) {
      const { status, headers, body } = await client.get(path);
      expect([status, body.toString(), headers["cache-control"]]).toEqual([200, "ok\n", "no-store"]);
      expect((await client.head(path)).status).toBe(200);
    }
  });

  it("get the reasons why the member is not ready", async () => {
    fixture.notReadyReasons = ["no membership yet", "volumes are recovering"];
    expect((await client.get("/livez")).status).toBe(200);
    const { status, body } = await client.get("/readyz");
    expect([status, body.toString()]).toEqual([503, "no membership yet\nvolumes are recovering\n"]);
  });

  it("find the starting member alive but not ready, and objects are not served", async () => {
    await using starting = await HttpFixture.open({ starting: true });
    await using other = await starting.connect();
    expect((await other.get("/livez")).status).toBe(200);
    expect((await other.get("/readyz")).body.toString()).toBe("this member is starting\n");
    await using member = await starting.connect();
    member.request("GET", "/s3/bucket/object", "Range: bytes=0-9", "frontcache-forwarded: 1");
    const refused = await member.rest();
    expect(refused).toContain("frontcache-error: UNAVAILABLE\r\n");
    expect(refused).toContain("Connection: close\r\n");
    const { status, body } = await other.get("/s3/bucket/object");
    expect([status, body.toString()]).toEqual([503, expect.stringContaining("<Code>ServiceUnavailable</Code>")]);
  });

  it("find the draining member not ready while it still serves objects, and end each connection with its next answer", async () => {
    fixture.listener.announceShutdown();
    const { status, body, headers } = await client.get("/readyz");
    expect([status, body.toString()]).toEqual([503, "this member is shutting down\n"]);
    expect(headers.connection).toBe("close");
    await using other = await fixture.connect();
    other.request("GET", "/s3/bucket/object");
    expect(await other.rest()).toMatch(/^HTTP\/1.1 200 OK\r\n[\s\S]*Connection: close\r\n/);
  });
});

describe("pipelined requests", () => {
  it("are answered in order, one read at a time", async () => {
    let running = 0;
    let most = 0;
    fixture.cache.beforeAnswer = async () => {
      most = Math.max(most, ++running);
      await new Promise((resolve) => setImmediate(resolve));
      running--;
    };
    const firsts = Array.from({ length: 60 }, (_, at) => at % 10);
    client.send(firsts.map((at) => `GET /s3/bucket/object HTTP/1.1\r\nHost: m\r\nRange: bytes=${at}-${at}\r\n\r\n`).join(""));
    for (const at of firsts) expect((await client.answer()).body.toString()).toBe(String(at));
    expect(most).toBe(1);
  });

  it("close their connection if there are too many", async () => {
    fixture.cache.beforeAnswer = untilAborted;
    client.send("GET /s3/bucket/object HTTP/1.1\r\nHost: m\r\n\r\n".repeat(1000));
    expect(await client.rest()).toBe("");
    expect(fixture.cache.requests).toHaveLength(1);
  });

  it("are dropped with their connection", async () => {
    fixture.cache.beforeAnswer = untilAborted;
    client.send("GET /s3/bucket/object HTTP/1.1\r\nHost: m\r\n\r\n".repeat(10));
    await eventually(() => expect(fixture.cache.requests).toHaveLength(1));
    client.socket.destroy();
    await eventually(() => expect(fixture.listener.openConnections).toBe(0));
    expect(fixture.cache.requests).toHaveLength(1);
  });
});

describe("closing the HTTP listener", () => {
  it("ends idle connections immediately and accepts no new ones", async () => {
    await client.get("/s3/bucket/object");
    await using silent = await fixture.connect();
    await eventually(() => expect(fixture.listener.openConnections).toBe(2));
    await fixture.listener.close();
    expect([await client.rest(), await silent.rest()]).toEqual(["", ""]);
    await expect(fixture.connect()).rejects.toThrow("ECONNREFUSED");
  });

  it("lets running responses finish as the last of their connections", async () => {
    let go!: () => void;
    fixture.cache.beforeSlice = () => new Promise((resolve) => (go = resolve));
    client.request("GET", "/s3/bucket/object");
    await eventually(() => expect(go).toBeDefined());
    const closed = fixture.listener.close();
    go();
    expect((await client.answer()).body.toString()).toBe("0123456789");
    await closed;
    await once(client.socket, "close");
  });

  it("adds Connection: close to responses that had not begun", async () => {
    let go!: () => void;
    fixture.cache.beforeAnswer = () => new Promise((resolve) => (go = resolve));
    client.send("GET /s3/bucket/object HTTP/1.1\r\nHost: m\r\n\r\n".repeat(2));
    await eventually(() => expect(go).toBeDefined());
    const closed = fixture.listener.close();
    fixture.cache.beforeAnswer = undefined;
    go();
    expect((await client.answer()).headers.connection).toBe("keep-alive");
    expect((await client.answer()).headers.connection).toBe("close");
    await closed;
  });

  it("closes connections whose responses do not finish in time", async () => {
    fixture.cache.beforeAnswer = untilAborted;
    client.request("GET", "/s3/bucket/object");
    await eventually(() => expect(fixture.left().running).toBe(1));
    const closed = fixture.listener.close();
    fixture.clock.advance(9_999);
    expect(fixture.left().running).toBe(1);
    fixture.clock.advance(1);
    await closed;
    await expect(client.answer()).rejects.toThrow("the connection ended");
  });

  it("is not needed if the address cannot be used", async () => {
    const { listener } = fixture;
    const { HttpListener } = await import("./http-listener.js");
    const { clock } = fixture;
    const options = {
      name: "http" as const,
      site: objectSite(PREFIXED, new Cors(() => [])),
      drainMs: 1,
      notReadyReasons: () => [],
      pages: new Map(),
      security: noSecurity,
      socketCalls: undefined,
      clients: new Clients(noLimits, systemClock),
      clock,
      log: {} as never,
    };
    await expect(HttpListener.open({ listen: { tcp: listener.address }, ...options })).rejects.toThrow("EADDRINUSE");
    expect((await client.get("/livez")).status).toBe(200);
  });
});

describe("a page", () => {
  it("is served for GET and HEAD at its path only", async () => {
    fixture.pages.set(
      "/metrics",
      textPage("text/plain", () => "figures\n"),
    );
    const got = await client.get("/metrics");
    expect([got.status, got.headers["content-type"], got.body.toString()]).toEqual([200, "text/plain", "figures\n"]);
    expect((await client.head("/metrics")).headers["content-length"]).toBe("8");
    expect((await client.get("/metrics/more")).status).toBe(404);
    client.request("POST", "/metrics", "Content-Length: 0");
    expect((await client.answer()).status).toBe(404);
  });
});
