import { GcsOrigin } from "@frontcache/server/testing";
import { type Bucket, Storage } from "@google-cloud/storage";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { GcsEmulator } from "../emulators/gcs.js";
import { rampBytes } from "../emulators/s3.js";
import { HttpStack } from "../s3/http-stack.js";

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
  stack = await HttpStack.open(
    new GcsOrigin({
      endpoint: store.endpoint,
      credentials: "anonymous",
      userProject: undefined,
      maxConnections: 16,
      idleTimeoutMs: 10_000,
      proxyOf: () => undefined,
      ca: undefined,
      onDroppedHeaders: () => {},
    }),
  );
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
