import { eventually, until } from "@frontcache/proto/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MemoryCache } from "../../testing/memory-cache.js";
import { type RawAnswer, RawClient } from "../../testing/raw-client.js";
import { type SentRequest, ValueListener } from "../../testing/value-listener.js";
import { requestOf } from "../../testing/value-samples.js";
import { ValuesCluster } from "../../testing/values-cluster.js";
import { Cors } from "../s3/cors.js";
import { objectSite } from "../s3/object-site.js";
import { valueApi } from "./value-api.js";
import { withValues } from "./values-cache.js";

let cluster: ValuesCluster;
let http: ValueListener;
let s3: ValueListener;

beforeAll(async () => {
  cluster = await ValuesCluster.open({ names: ["a"] });
  const values = cluster.values("a");
  http = await ValueListener.serving(valueApi(), values, "nobody");
  const site = objectSite({ form: "root", domains: [], storeOf: () => "cache" }, new Cors(() => []));
  s3 = await ValueListener.serving(site, withValues(values, true)(new MemoryCache()), "nobody");
});

afterAll(async () => {
  await http?.[Symbol.asyncDispose]();
  await s3?.[Symbol.asyncDispose]();
  await cluster?.close();
});

type Line = readonly [method: string, path: string, sent: SentRequest, status: number, body?: RegExp];

/** Sends the requests of a table one after the other, and compares status and body. */
async function expectLines(listener: ValueListener, lines: readonly Line[]): Promise<void> {
  for (const [method, path, sent, status, body = /(?:)/] of lines) {
    const answer = await listener.send(method, path, sent);
    const line = `${method} ${path.slice(0, 60)} ${JSON.stringify(sent.headers ?? {})}`;
    expect({ line, status: answer.status }).toEqual({ line, status });
    expect(answer.body.toString(), line).toMatch(body);
  }
}

/** Lets time pass, from the first byte of a value on, until its writer is answered. */
async function timedOut(listener: ValueListener, client: RawClient): Promise<RawAnswer> {
  const writers = (): number => cluster.values("a").stats().writers;
  await until(() => writers() === 1);
  const answer = client.answer();
  await eventually(() => {
    listener.clock.advance(20_000);
    expect(writers()).toBe(0);
  });
  return answer;
}

const ONE: SentRequest = { body: "x" };
const NONE: SentRequest = { body: "" };
const withHeaders = (headers: Record<string, string>, body = "x"): SentRequest => ({ headers, body });

/** The largest time to live is 100 years. */
const TOO_LONG = String(100 * 365 * 86_400 + 1);
const TOO_LARGE = String(2 ** 40 + 1);

/** Keys that look like something else, as they are sent, with what they are. */
const ODD_KEYS = {
  "..": "..",
  ".": ".",
  "a/../b": "a/../b",
  "/x": "/x",
  "a//b": "a//b",
  "a/": "a/",
  "%2e%2e%2F%2e%2e": "../..",
  "%2F": "/",
  "%00": "\0",
  "%3Foffset=1": "?offset=1",
} as const;

describe.each([
  ["the HTTP listener", () => http, "/values/bucket/", "frontcache-", 201],
  ["the S3 endpoint", () => s3, "/bucket/", "x-amz-meta-frontcache-", 200],
] as const)("values at %s", (_, listenerOf, base, prefix, created) => {
  it("keep odd keys as they are", async () => {
    for (const [escaped, key] of Object.entries(ODD_KEYS)) {
      await expectLines(listenerOf(), [
        ["PUT", base + escaped, { body: key }, created],
        ["GET", base + escaped, {}, 200],
      ]);
      expect(await cluster.values("a").head(requestOf(key))).toMatchObject({ url: requestOf(key).url });
      await expectLines(listenerOf(), [["DELETE", base + escaped, {}, 204]]);
    }
  });

  it("are refused with a clear error if the request is wrong, and stay as they were", async () => {
    await expectLines(listenerOf(), [
      ["PUT", `${base}t`, withHeaders({ [`${prefix}ttl`]: "0" }, "kept"), created],
      ["PUT", `${base}%zz`, ONE, 400, /no escape/],
      ["PUT", `${base}%ff`, ONE, 400, /not UTF-8/],
      ...["-1", "1.5", "x", TOO_LONG, "9".repeat(30)].map(
        (ttl): Line => ["PUT", `${base}t`, withHeaders({ [`${prefix}ttl`]: ttl }), 400, /whole number/],
      ),
      ["PUT", `${base}t`, withHeaders({ [`${prefix}flags`]: String(2 ** 32) }), 400, /whole number/],
      ["PUT", `${base}t`, withHeaders({ "content-length": TOO_LARGE }, ""), 400, /size/],
      ["PATCH", `${base}t`, ONE, 405],
      ["GET", `${base}t`, { headers: { range: "bytes=4-9" } }, 416],
      ["GET", `${base}t`, { headers: { range: "bytes=2-9" } }, 206, /^pt$/],
      ["GET", `${base}t`, {}, 200, /^kept$/],
    ]);
    expect((await cluster.values("a").head(requestOf("t")))?.expiresMs).toBeUndefined();
  });

  it("leave the key free if their writer stalls in the body", async () => {
    const listener = listenerOf();
    await using client = await RawClient.connect(listener.port);
    client.request("PUT", `${base}stalled`, `Content-Length: ${2 << 20}`);
    client.send("12345");
    const { status } = await timedOut(listener, client);
    expect(status).toBeOneOf([400, 408]);
    await expectLines(listener, [
      ["GET", `${base}stalled`, {}, 404],
      ["PUT", `${base}stalled`, ONE, created],
      ["GET", `${base}stalled`, {}, 200, /^x$/],
      ["DELETE", `${base}stalled`, {}, 204],
    ]);
  });
});

describe("keys of values", () => {
  it("have up to 8 KiB, also if all bytes are escaped, at the HTTP listener", async () => {
    const path = `/values/bucket/${"k".repeat(8_192)}`;
    await expectLines(http, [
      ["PUT", path, ONE, 201],
      ["GET", `/values/bucket/${"%6b".repeat(8_192)}`, {}, 200, /^x$/],
      ["PUT", `${path}k`, ONE, 400, /longer than 8192 bytes/],
      ["GET", `${path}k`, {}, 400, /longer than 8192 bytes/],
    ]);
  });

  it("have as many bytes as a path of 8 KiB carries at the S3 endpoint", async () => {
    const path = `/bucket/${"s".repeat(8_192 - "/bucket/".length)}`;
    await expectLines(s3, [
      ["PUT", path, ONE, 200],
      ["GET", path, {}, 200, /^x$/],
      ["PUT", `${path}s`, ONE, 414, /URITooLong/],
    ]);
  });
});

describe("uploads of ranges at the HTTP listener", () => {
  it("are refused with a clear error if the request is wrong, and lose nothing", async () => {
    const path = "/values/bucket/up";
    const sized = (size: string): SentRequest => withHeaders({ "frontcache-size": size }, "");
    await expectLines(http, [
      ...["0", "-1", "x", TOO_LARGE].map((size): Line => ["POST", `${path}?begin`, sized(size), 400]),
      ["POST", `${path}?begin`, NONE, 400],
      ["PUT", `${path}?offset=0`, ONE, 404],
      ["POST", `${path}?finalize`, NONE, 404],
      ["POST", `${path}?begin`, sized("5"), 201],
      ["POST", `${path}?begin`, sized("5"), 409, /already_started/],
      ["PUT", `${path}?offset=0`, { body: "abcd" }, 200],
      ...["-1", "x", "1e9", "1.5", "", "9".repeat(30)].map((at): Line => ["PUT", `${path}?offset=${at}`, ONE, 400, /offset/]),
      ["PUT", `${path}?offset=5`, ONE, 416],
      ["PUT", `${path}?offset=4`, { body: "ef" }, 416],
      ["PUT", path, withHeaders({ "content-range": "bytes 4-9/5" }), 400, /put whole/],
      ["POST", `${path}?finalize`, NONE, 409, /"missing":\[\{"start":4,"end":5\}\]/],
      ["PUT", `${path}?offset=4`, { body: "e" }, 200, /"missing": \[\]/],
      ["POST", `${path}?finalize`, withHeaders({ "frontcache-ttl": "-1" }, ""), 400],
      ["POST", `${path}?finalize`, withHeaders({ "frontcache-ttl": TOO_LONG }, ""), 400],
    ]);
    const both = await Promise.all([1, 2].map(() => http.send("POST", `${path}?finalize`, NONE)));
    const statuses = both.map(({ status }) => status).sort();
    expect(statuses[0]).toBe(201);
    expect(statuses[1]).toBeOneOf([404, 409]);
    await expectLines(http, [
      ["POST", `${path}?finalize`, NONE, 404, /no upload/],
      ["GET", path, {}, 200, /^abcde$/],
    ]);
  });
});

describe("multipart uploads of values at the S3 endpoint", () => {
  const document = (...parts: readonly (readonly [number: string, tag: string])[]): SentRequest => {
    const named = parts.map(([number, tag]) => `<Part><PartNumber>${number}</PartNumber><ETag>${tag}</ETag></Part>`);
    return { body: `<CompleteMultipartUpload>${named.join("")}</CompleteMultipartUpload>` };
  };

  it("are refused with a clear error if the request is wrong, and lose nothing", async () => {
    for (const ttl of ["-1", "x", TOO_LONG]) {
      const begin = withHeaders({ "x-amz-meta-frontcache-ttl": ttl }, "");
      await expectLines(s3, [["POST", "/bucket/parts?uploads", begin, 400, /time to live/]]);
    }
    const begun = await s3.send("POST", "/bucket/parts?uploads", NONE);
    const path = `/bucket/parts?uploadId=${/<UploadId>(.*)<\/UploadId>/.exec(begun.body.toString())![1]}`;
    const { etag = "" } = (await s3.send("PUT", `${path}&partNumber=1`, { body: "part" })).headers;
    await expectLines(s3, [
      ...["0", "10001", "x", "-1", "1.5", "", "..%2F1"].map(
        (number): Line => ["PUT", `${path}&partNumber=${number}`, ONE, 400, /between 1 and 10000/],
      ),
      ["PUT", "/bucket/parts?uploadId=nonsense&partNumber=1", ONE, 404, /NoSuchUpload/],
      ["PUT", `${path.replace("parts", "another")}&partNumber=1`, ONE, 404, /NoSuchUpload/],
      ["POST", path, { body: "no document" }, 400, /MalformedXML/],
      ["POST", path, document(), 400, /MalformedXML/],
      ["POST", path, document(["x", etag]), 400, /MalformedXML/],
      ["POST", path, document(["2", etag]), 400, /Part 2 was not uploaded/],
      ["POST", path, document(["1", "another"]), 400, /Part 1 was not uploaded/],
      ["POST", path, document(["1", etag], ["1", etag]), 400, /ascending/],
      ["GET", "/bucket/parts", {}, 404],
      ["POST", path, document(["1", etag]), 200],
      ["POST", path, document(["1", etag]), 404, /NoSuchUpload/],
      ["GET", "/bucket/parts", {}, 200, /^part$/],
    ]);
  });
});
