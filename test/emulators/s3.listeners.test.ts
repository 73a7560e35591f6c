import type { Readable } from "node:stream";
import { GetObjectCommand, HeadObjectCommand, ListObjectsV2Command, PutObjectCommand, type S3Client } from "@aws-sdk/client-s3";
import { eventually } from "@frontcache/proto/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { sdkClient } from "../s3/sdk-client.js";
import { rampBytes, S3Emulator } from "./s3.js";
import { servedRange } from "./send-object.js";

describe("the S3 emulator", () => {
  let store: S3Emulator;
  let client: S3Client;

  beforeEach(async () => {
    store = await S3Emulator.start();
    client = sdkClient(store.endpoint, 1);
  });

  afterEach(async () => {
    client.destroy();
    await store.close();
  });

  it("stores objects that the SDK puts, with type, ETag and bytes", async () => {
    const Body = rampBytes(0, 300_000, 1);
    store.objects.createBucket("bucket");
    const put = await client.send(new PutObjectCommand({ Bucket: "bucket", Key: "a b/../c", Body, ContentType: "x/y" }));
    const got = await client.send(new GetObjectCommand({ Bucket: "bucket", Key: "a b/../c" }));
    expect(Buffer.from(await got.Body!.transformToByteArray()).equals(Body)).toBe(true);
    expect(got).toMatchObject({ ContentType: "x/y", ETag: put.ETag, ContentLength: 300_000 });
    expect(store.traffic.requests).toEqual({ PUT: 1, GET: 1 });
  });

  it("changes a ramp's version with every put, and the version of small objects with their content", () => {
    expect(store.putRamp("bucket", "ramp", 1000, 1)).not.toBe(store.putRamp("bucket", "ramp", 1000, 1));
    expect(store.put("bucket", "small", "x")).toBe(store.put("bucket", "small", "x"));
    expect(store.put("bucket", "small", "x")).not.toBe(store.put("bucket", "small", "y"));
  });

  it("answers conditions with 412 and 304", async () => {
    const version = store.put("bucket", "key", "content");
    const head = (conditions: object) => client.send(new HeadObjectCommand({ Bucket: "bucket", Key: "key", ...conditions }));
    await expect(head({ IfMatch: '"other"' })).rejects.toMatchObject({ $metadata: { httpStatusCode: 412 } });
    await expect(head({ IfNoneMatch: `"${version}"` })).rejects.toMatchObject({ $metadata: { httpStatusCode: 304 } });
    expect(await head({ IfMatch: `"${version}"` })).toMatchObject({ ContentLength: 7 });
  });

  it("returns the error codes of S3", async () => {
    const get = (Bucket: string, Key: string, Range?: string) => client.send(new GetObjectCommand({ Bucket, Key, Range }));
    store.put("bucket", "key", "content");
    await expect(get("bucket", "none")).rejects.toMatchObject({ name: "NoSuchKey" });
    await expect(get("none", "none")).rejects.toMatchObject({ name: "NoSuchBucket" });
    await expect(get("bucket", "key", "bytes=7-")).rejects.toMatchObject({ name: "InvalidRange" });
    store.faults.place({ error: { status: 503, code: "SlowDown" }, times: 1 });
    await expect(get("bucket", "key")).rejects.toMatchObject({ name: "SlowDown" });
    expect((await get("bucket", "key")).ContentLength).toBe(7);
    expect(store.traffic.gets.map(({ status }) => status)).toEqual([404, 404, 416, 503, 200]);
  });

  it("lists pages by prefix and groups keys by delimiter", async () => {
    for (const key of ["a/1", "a/2", "a/b/3", "a/c/4", "a/c/5", "b", "a/ü&"]) store.put("bucket", key, key);
    const keys: (string | undefined)[] = [];
    let ContinuationToken: string | undefined;
    do {
      const page = await client.send(new ListObjectsV2Command({ Bucket: "bucket", Prefix: "a/", MaxKeys: 2, ContinuationToken }));
      keys.push(...(page.Contents ?? []).map(({ Key }) => Key));
      ContinuationToken = page.NextContinuationToken;
    } while (ContinuationToken !== undefined);
    expect(keys).toEqual(["a/1", "a/2", "a/b/3", "a/c/4", "a/c/5", "a/ü&"]);
    const folded = await client.send(new ListObjectsV2Command({ Bucket: "bucket", Prefix: "a/", Delimiter: "/" }));
    expect(folded.CommonPrefixes).toEqual([{ Prefix: "a/b/" }, { Prefix: "a/c/" }]);
    expect(folded.Contents?.map(({ Key }) => Key)).toEqual(["a/1", "a/2", "a/ü&"]);
  });

  it("limits the rate of one connection if a fault requires it, and of no other", async () => {
    store.putRamp("bucket", "ramp", 10 << 20);
    store.faults.place({ bytesPerSecond: 1_000, times: 1 });
    const range = { Bucket: "bucket", Key: "ramp", Range: "bytes=0-2097151" };
    const paced = await client.send(new GetObjectCommand(range));
    const other = await client.send(new GetObjectCommand(range));
    expect((await other.Body!.transformToByteArray()).length).toBe(2 << 20);
    expect(store.traffic.open).toBe(1);
    (paced.Body as Readable).destroy();
    await eventually(() => expect(store.traffic.open).toBe(0));
  });

  it("closes every connection when it is closed, including stalled ones", async () => {
    store.putRamp("bucket", "ramp", 1 << 20);
    store.faults.place({ body: { afterBytes: 10, how: "stall" } });
    const got = await client.send(new GetObjectCommand({ Bucket: "bucket", Key: "ramp" }));
    const outcome = expect(got.Body!.transformToByteArray()).rejects.toThrow();
    await store.close();
    await outcome;
    expect(store.openSockets).toBe(0);
    store = await S3Emulator.start();
  });
});

describe("a Range header", () => {
  it.each([
    [undefined, { start: 0, end: 100, partial: false }],
    ["bytes=0-0", { start: 0, end: 1, partial: true }],
    ["bytes=10-", { start: 10, end: 100, partial: true }],
    ["bytes=-30", { start: 70, end: 100, partial: true }],
    ["bytes=-300", { start: 0, end: 100, partial: true }],
    ["bytes=90-200", { start: 90, end: 100, partial: true }],
    ["bytes=100-", undefined],
    ["bytes=-0", undefined],
    ["bytes=5-4", { start: 0, end: 100, partial: false }],
    ["bytes=0-1,5-6", { start: 0, end: 100, partial: false }],
    ["bytes=-", { start: 0, end: 100, partial: false }],
  ])("of %s is served as S3 serves it", (header, expected) => {
    expect(servedRange(header, 100)).toEqual(expected);
  });
});
