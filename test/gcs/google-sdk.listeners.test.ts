import { createHash } from "node:crypto";
import { request } from "node:http";
import { gzipSync } from "node:zlib";
import { type Bucket, Storage } from "@google-cloud/storage";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { GcsEmulator } from "../emulators/gcs.js";
import { rampBytes } from "../emulators/s3.js";
import type { HttpStack } from "../s3/http-stack.js";
import { openGcsStack } from "./gcs-stack.js";

const OBJECT = rampBytes(0, 600_000, 7);

let store: GcsEmulator;
let stack: HttpStack;
let bucket: Bucket;
let storage: Storage;
let generation: string;

beforeAll(async () => {
  store = await GcsEmulator.start();
  const resource = { contentEncoding: "", metadata: { team: "lake" }, metageneration: "3", cacheControl: "no-store" };
  generation = store.put("bucket", "dir/object é", OBJECT, { contentType: "text/plain", resource });
  stack = await openGcsStack(store);
  const apiEndpoint = `http://127.0.0.1:${stack.listener.address.port}`;
  storage = new Storage({
    apiEndpoint,
    projectId: "project",
    useAuthWithCustomEndpoint: false,
    retryOptions: { autoRetry: false },
  });
  bucket = storage.bucket("bucket");
});

afterAll(async () => {
  await stack[Symbol.asyncDispose]();
  await store.close();
});

/** Returns the response of a path, with its JSON if it has any. */
async function get(path: string, headers: Record<string, string> = {}) {
  const response = await fetch(`http://127.0.0.1:${stack.listener.address.port}${path}`, { headers });
  const body = Buffer.from(await response.arrayBuffer());
  const isJson = response.headers.get("content-type")?.startsWith("application/json") === true;
  return { status: response.status, headers: response.headers, body, json: isJson ? JSON.parse(body.toString()) : undefined };
}

const NAME = "dir%2Fobject%20%C3%A9";
const METADATA = `/storage/v1/b/bucket/o/${NAME}`;

describe("Google's library with the JSON API of a member", () => {
  it("downloads an object, and ranges of it", async () => {
    const [bytes] = await bucket.file("dir/object é").download();
    expect(bytes.equals(OBJECT)).toBe(true);
    const [range] = await bucket.file("dir/object é").download({ start: 1_000, end: 300_000, validation: false });
    expect(range.equals(OBJECT.subarray(1_000, 300_001))).toBe(true);
    const [old] = await bucket.file("dir/object é", { generation }).download();
    expect(old.equals(OBJECT)).toBe(true);
  });

  it("gets an object's metadata from its record", async () => {
    const [metadata] = await bucket.file("dir/object é").getMetadata();
    expect(metadata).toMatchObject({
      name: "dir/object é",
      bucket: "bucket",
      generation,
      metageneration: "3",
      size: String(OBJECT.length),
      contentType: "text/plain",
      metadata: { team: "lake" },
      cacheControl: "no-store",
    });
    expect(await bucket.file("missing").exists()).toEqual([false]);
  });

  it("lists objects and buckets, and gets a bucket", async () => {
    for (const key of ["list/a", "list/b/c", "list/d"]) store.put("bucket", key, key);
    const [files] = await bucket.getFiles({ prefix: "list/" });
    expect(files.map(({ name }) => name)).toEqual(["list/a", "list/b/c", "list/d"]);
    const [, , page] = await bucket.getFiles({ prefix: "list/", delimiter: "/", autoPaginate: false });
    expect((page as { prefixes: string[] }).prefixes).toEqual(["list/b/"]);
    expect((await storage.getBuckets())[0].map(({ name }) => name)).toEqual(["bucket"]);
    expect((await bucket.getMetadata())[0]).toMatchObject({ name: "bucket", location: "EU" });
    expect(await storage.bucket("nowhere").exists()).toEqual([false]);
  });

  it("gets the newest generation of an object that a listing names", async () => {
    store.put("bucket", "news", "one");
    const read = async () => (await bucket.file("news").download())[0].toString();
    expect(await read()).toBe("one");
    store.put("bucket", "news", "two");
    expect(await read()).toBe("one");
    await bucket.getFiles({ prefix: "news" });
    expect(await read()).toBe("two");
  });
});

/**
 * Sends a GET or HEAD by Node's client, which adds no headers, to the member or to the origin. Its answer without what differs by
 * design.
 */
function ask(to: "member" | "origin", path: string, headers: Record<string, string>, method = "GET") {
  const base = to === "origin" ? store.endpoint : `http://127.0.0.1:${stack.listener.address.port}`;
  return new Promise<{ status: number; headers: Record<string, unknown>; body: string }>((resolve, reject) => {
    const sent = request(`${base}${path}`, { method, headers, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () =>
        resolve({ status: response.statusCode!, headers: response.headers, body: Buffer.concat(chunks).toString("latin1") }),
      );
    });
    sent.on("error", reject);
    sent.end();
  });
}

/** Headers that describe the bytes of an answer. */
function ofBytes({ status, headers, body }: Awaited<ReturnType<typeof ask>>) {
  const { "content-encoding": encoding, "content-range": range, "content-length": length, warning } = headers;
  return { status, body, encoding, range, length, warning };
}

describe("an object that is stored compressed", () => {
  const STORED = gzipSync(OBJECT);
  const MEDIA = "/download/storage/v1/b/bucket/o/compressed?alt=media";

  beforeAll(() => {
    store.put("bucket", "compressed", STORED, { resource: { contentEncoding: "gzip" } });
    store.put("bucket", "untouched", STORED, { resource: { contentEncoding: "gzip", cacheControl: "no-transform" } });
    store.put("bucket", "mislabelled", OBJECT, { resource: { contentEncoding: "gzip" } });
  });

  it.each([
    ["as it is to a client that accepts gzip", { "accept-encoding": "gzip, deflate" }],
    ["as it is, a range", { "accept-encoding": "gzip", range: "bytes=10-29" }],
    ["decompressed to a client that does not name gzip", {}],
    ["decompressed and whole, whatever the range is", { range: "bytes=10-29", "accept-encoding": "identity" }],
  ])("is sent as by GCS: %s", async (_, headers: Record<string, string>) => {
    const expected = ofBytes(await ask("origin", MEDIA, headers));
    for (let round = 0; round < 2; round++) expect(ofBytes(await ask("member", MEDIA, headers))).toEqual(expected);
    expect(expected.body).toBe(
      (expected.encoding === "gzip" ? STORED.subarray(...(headers.range ? [10, 30] : [])) : OBJECT).toString("latin1"),
    );
  });

  it("is decompressed for a condition and a generation that hold, and has no length in the answer to HEAD", async () => {
    const { headers } = await ask("member", MEDIA, {}, "HEAD");
    expect([headers["content-length"], headers["content-encoding"], headers.warning]).toEqual([
      undefined,
      undefined,
      "214 UploadServer gunzipped",
    ]);
    const version = String(headers["x-goog-generation"] ?? String(headers.etag).slice(1, -1));
    expect((await ask("member", `${MEDIA}&generation=${version}&ifGenerationMatch=${version}`, {})).body).toBe(
      OBJECT.toString("latin1"),
    );
    expect((await ask("member", `${MEDIA}&ifGenerationMatch=7`, {})).status).toBe(412);
    expect((await ask("member", `${MEDIA}&ifGenerationNotMatch=${version}`, {})).status).toBe(304);
  });

  it("is sent as it is if its Cache-Control forbids to transform it", async () => {
    const { headers, body } = await ask("member", MEDIA.replace("compressed", "untouched"), {});
    expect([headers["content-encoding"], body]).toEqual(["gzip", STORED.toString("latin1")]);
  });

  it("is refused without gzip if its bytes are not compressed, and readable with gzip", async () => {
    const path = MEDIA.replace("compressed", "mislabelled");
    expect((await ask("member", path, {})).status).toBe(400);
    expect((await ask("member", path, { "accept-encoding": "gzip" })).body).toBe(OBJECT.toString("latin1"));
  });

  it("is sent as it is under /gs", async () => {
    const { headers, body } = await ask("member", "/gs/bucket/compressed", { range: "bytes=10-29" });
    expect([headers["content-encoding"], body]).toEqual(["gzip", STORED.subarray(10, 30).toString("latin1")]);
  });
});

describe("an object with a key of its client", () => {
  const key = Buffer.alloc(32, 7);
  const hash = (name: string) => createHash(name).update(key).digest("base64");
  const MEDIA = "/storage/v1/b/bucket/o/secret?alt=media";
  const OF_GCS = {
    "x-goog-encryption-algorithm": "AES256",
    "x-goog-encryption-key": key.toString("base64"),
    "x-goog-encryption-key-sha256": hash("sha256"),
  };
  const OF_S3 = {
    "x-amz-server-side-encryption-customer-algorithm": "AES256",
    "x-amz-server-side-encryption-customer-key": key.toString("base64"),
    "x-amz-server-side-encryption-customer-key-md5": hash("md5"),
  };
  const bytes = OBJECT.toString("latin1");
  let version: string;

  beforeAll(() => {
    version = store.put("bucket", "secret", OBJECT, { resource: { customerEncryption: { keySha256: hash("sha256") } } });
  });

  it.each([
    ["GCS at the JSON API", MEDIA, OF_GCS],
    ["GCS under /gs", "/gs/bucket/secret", OF_GCS],
    ["S3 under /gs", "/gs/bucket/secret", OF_S3],
  ])("is read with the headers of %s, and never cached", async (_, path, headers) => {
    for (let round = 0; round < 2; round++) {
      const before = store.traffic.gets.length;
      const whole = await ask("member", path, headers);
      expect([whole.status, whole.headers["x-cache"], whole.body]).toEqual([200, "BYPASS", bytes]);
      const range = await ask("member", path, { ...headers, range: "bytes=100-199" });
      expect([range.status, range.headers["content-range"], range.body]).toEqual([
        206,
        "bytes 100-199/600000",
        bytes.slice(100, 200),
      ]);
      expect(store.traffic.gets.length).toBe(before + 2);
    }
    const head = await ask("member", path, headers, "HEAD");
    expect([head.status, head.headers["content-length"], head.body]).toEqual([200, "600000", ""]);
  });

  it("is judged by the conditions of the request", async () => {
    const send = (header: string, value: string) => ask("member", "/gs/bucket/secret", { ...OF_S3, [header]: value });
    expect((await send("if-match", `"${version}"`)).body).toBe(bytes);
    expect((await send("if-match", '"7"')).status).toBe(412);
    expect((await send("if-none-match", `"${version}"`)).status).toBe(304);
  });

  it.each([
    [
      "another key",
      { ...OF_GCS, "x-goog-encryption-key": Buffer.alloc(32, 8).toString("base64"), "x-goog-encryption-key-sha256": "" },
    ],
    ["a short key", { ...OF_S3, "x-amz-server-side-encryption-customer-key": "c2hvcnQ=" }],
    ["a hash of another key", { ...OF_S3, "x-amz-server-side-encryption-customer-key-md5": "AAAA" }],
    ["another algorithm", { ...OF_S3, "x-amz-server-side-encryption-customer-algorithm": "DES" }],
    ["no key", { "x-goog-encryption-algorithm": "AES256" }],
  ])("is refused with %s", async (_, headers: Record<string, string>) => {
    for (const path of [MEDIA, "/gs/bucket/secret"]) expect((await ask("member", path, headers)).status).toBe(400);
  });

  it("is refused under /gs with an expected owner, which GCS does not know", async () => {
    expect((await ask("member", "/gs/bucket/secret", { "x-amz-expected-bucket-owner": "111122223333" })).status).toBe(501);
  });
});

describe("the JSON API", () => {
  it.each([`/download${METADATA}?alt=media`, `${METADATA}?alt=media`])("sends an object's bytes at %s", async (path) => {
    const whole = await get(path);
    expect([whole.status, whole.body.equals(OBJECT), whole.headers.get("x-goog-generation")]).toEqual([200, true, generation]);
    const range = await get(path, { range: "bytes=10-19" });
    expect([range.status, range.body.equals(OBJECT.subarray(10, 20))]).toEqual([206, true]);
    expect((await get(path, { range: "bytes=600000-" })).json.error.code).toBe(416);
  });

  it.each([
    ["ifGenerationMatch", 412, 200],
    ["ifGenerationNotMatch", 200, 304],
  ])("checks %s against the generation", async (name, other, same) => {
    for (const path of [`${METADATA}?`, `${METADATA}?alt=media&`]) {
      expect((await get(`${path}${name}=7`)).status).toBe(other);
      expect((await get(`${path}${name}=${generation}`)).status).toBe(same);
    }
  });

  it.each([
    ["ifMetagenerationMatch", 412, 200],
    ["ifMetagenerationNotMatch", 200, 304],
  ])("checks %s against the metageneration", async (name, other, same) => {
    for (const path of [`${METADATA}?`, `${METADATA}?alt=media&`]) {
      expect((await get(`${path}${name}=7`)).status).toBe(other);
      expect((await get(`${path}${name}=3`)).status).toBe(same);
    }
  });

  it("never sends bytes of another generation", async () => {
    expect((await get(`${METADATA}?alt=media&generation=7`)).status).toBe(404);
    expect((await get(`${METADATA}?alt=media&generation=${generation}&ifGenerationMatch=7`)).status).toBe(412);
  });

  it.each([
    ["/storage/v1/b/bucket/o/missing", 404, "notFound"],
    ["/storage/v1/b/bucket/o/missing?alt=media", 404, "notFound"],
    ["/storage/v1/b/nowhere/o", 404, "notFound"],
    [`${METADATA}?generation=x`, 400, "invalid"],
    ["/storage/v1/b/bucket/o/%FF", 400, "invalid"],
    ["/storage/v1/b/b%2Fc/o/x", 400, "invalid"],
    ["/storage/v1/b/bucket/o/a/b", 501, "notImplemented"],
    ["/storage/v1/b/bucket/acl", 501, "notImplemented"],
    ["/storage/v1/projects/x/hmacKeys", 501, "notImplemented"],
    ["/download/storage/v1/b/bucket", 501, "notImplemented"],
  ])("answers %s with %d in JSON", async (path, status, reason) => {
    const { json, ...answer } = await get(path);
    expect([answer.status, json.error.code, json.error.errors[0].reason]).toEqual([status, status, reason]);
  });

  it.each([METADATA, `${METADATA}?projection=full`, "/storage/v1/b/bucket/o"])(
    "has no links to the origin in %s",
    async (path) => {
      const { status, body } = await get(path);
      expect(status).toBe(200);
      expect(body.toString()).not.toContain("mediaLink");
      expect(body.toString()).toContain(generation);
    },
  );

  it("rejects writes", async () => {
    const url = `http://127.0.0.1:${stack.listener.address.port}/storage/v1/b/bucket/o`;
    expect((await fetch(url, { method: "POST", body: "{}" })).status).toBe(405);
  });
});
