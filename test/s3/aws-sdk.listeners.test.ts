import {
  GetBucketAclCommand,
  GetBucketLocationCommand,
  GetObjectCommand,
  type GetObjectCommandInput,
  HeadBucketCommand,
  HeadObjectCommand,
  ListBucketsCommand,
  ListObjectsCommand,
  ListObjectsV2Command,
  NoSuchKey,
  PutObjectCommand,
  paginateListObjectsV2,
  S3Client,
} from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { rampBytes, S3Emulator } from "../emulators/s3.js";
import { HttpStack } from "./http-stack.js";

const OBJECT = rampBytes(0, 600_000, 7);

let store: S3Emulator;
let stack: HttpStack;
let client: S3Client;
let version: string;

beforeAll(async () => {
  store = await S3Emulator.start();
  version = store.put("bucket", "object", OBJECT, { contentType: "text/plain" });
  stack = await HttpStack.open(store.endpoint);
  client = new S3Client({
    endpoint: stack.endpoint,
    forcePathStyle: true,
    region: "us-east-1",
    credentials: { accessKeyId: "anything", secretAccessKey: "goes" },
  });
});

afterAll(async () => {
  client.destroy();
  await stack[Symbol.asyncDispose]();
  await store.close();
});

/** Returns an object's bytes and the SDK's metadata. */
async function get(input: Partial<GetObjectCommandInput> = {}) {
  const output = await client.send(new GetObjectCommand({ Bucket: "bucket", Key: "object", ...input }));
  return { output, bytes: Buffer.from(await output.Body!.transformToByteArray()) };
}

/** Returns the status and the SDK's name of the error. */
async function failureOf(answer: Promise<unknown>): Promise<[number | undefined, string]> {
  const error = await answer.then(
    () => new Error("it was answered"),
    (reason: Error & { $metadata?: { httpStatusCode?: number } }) => reason,
  );
  return [(error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode, error.name];
}

describe("the AWS SDK with the S3 endpoint of a member", () => {
  it("gets an object with its metadata", async () => {
    const { output, bytes } = await get();
    expect(bytes.equals(OBJECT)).toBe(true);
    expect(output).toMatchObject({ ETag: `"${version}"`, ContentLength: OBJECT.length, ContentType: "text/plain" });
    const lastModifiedMs = store.objects.get("bucket", "object")!.lastModifiedMs;
    expect(output.LastModified).toEqual(new Date(Math.floor(lastModifiedMs / 1000) * 1000));
    const head = await client.send(new HeadObjectCommand({ Bucket: "bucket", Key: "object" }));
    expect(head).toMatchObject({ ETag: output.ETag, ContentLength: OBJECT.length, LastModified: output.LastModified });
  });

  it.each([
    ["bytes=0-9", 0, 10],
    ["bytes=200000-500000", 200_000, 500_001],
    ["bytes=599999-", 599_999, 600_000],
    ["bytes=-5", 599_995, 600_000],
  ])("gets %s", async (Range, start, end) => {
    const { output, bytes } = await get({ Range, IfMatch: `"${version}"` });
    expect(bytes.equals(OBJECT.subarray(start, end))).toBe(true);
    expect(output.ContentRange).toBe(`bytes ${start}-${end - 1}/600000`);
  });

  it("recognizes the member's errors as errors of S3", async () => {
    await expect(get({ Key: "missing" })).rejects.toBeInstanceOf(NoSuchKey);
    expect(await failureOf(client.send(new HeadObjectCommand({ Bucket: "bucket", Key: "missing" })))).toEqual([404, "NotFound"]);
    expect(await failureOf(get({ Range: "bytes=600000-" }))).toEqual([416, "InvalidRange"]);
    expect(await failureOf(get({ IfMatch: '"x"' }))).toEqual([412, "PreconditionFailed"]);
    expect((await failureOf(get({ IfNoneMatch: `"${version}"` })))[0]).toBe(304);
    expect((await failureOf(get({ IfModifiedSince: new Date(Date.now() + 60_000) })))[0]).toBe(304);
    const put = new PutObjectCommand({ Bucket: "bucket", Key: "object", Body: Buffer.alloc(3 << 20) });
    expect(await failureOf(client.send(put))).toEqual([405, "MethodNotAllowed"]);
    expect(await failureOf(client.send(new ListObjectsCommand({ Bucket: "bucket" })))).toEqual([501, "NotImplemented"]);
    expect(await failureOf(client.send(new ListBucketsCommand({})))).toEqual([501, "NotImplemented"]);
    expect(await failureOf(client.send(new GetBucketAclCommand({ Bucket: "bucket" })))).toEqual([501, "NotImplemented"]);
    expect(await failureOf(client.send(new HeadBucketCommand({ Bucket: "missing" })))).toEqual([404, "NotFound"]);
    expect(await failureOf(client.send(new ListObjectsV2Command({ Bucket: "missing" })))).toEqual([404, "NoSuchBucket"]);
    expect(await failureOf(get({ PartNumber: 1 }))).toEqual([501, "NotImplemented"]);
  });

  it("lists a bucket page by page, with the metadata of each object", async () => {
    const keys = Array.from({ length: 25 }, (_, at) => `dir ${at % 3}/ü&${String(at).padStart(2, "0")}`).sort();
    for (const key of keys) store.put("pages", key, key);
    const listed: (string | undefined)[] = [];
    for await (const page of paginateListObjectsV2({ client, pageSize: 4 }, { Bucket: "pages" })) {
      for (const object of page.Contents ?? []) {
        const { version: etag, size } = store.objects.get("pages", object.Key!)!;
        expect(object).toMatchObject({ ETag: etag, Size: size, LastModified: expect.any(Date) });
        listed.push(object.Key);
      }
    }
    expect(listed).toEqual(keys);
    const folded = await client.send(new ListObjectsV2Command({ Bucket: "pages", Delimiter: "/", FetchOwner: true }));
    expect(folded.CommonPrefixes).toEqual([{ Prefix: "dir 0/" }, { Prefix: "dir 1/" }, { Prefix: "dir 2/" }]);
    expect(folded).toMatchObject({ KeyCount: 3, IsTruncated: false });
  });

  it("finds out whether a bucket exists, and its region", async () => {
    expect((await client.send(new HeadBucketCommand({ Bucket: "bucket" }))).$metadata.httpStatusCode).toBe(200);
    expect((await client.send(new GetBucketLocationCommand({ Bucket: "bucket" }))).LocationConstraint).toBeUndefined();
  });

  it.each(["a b/ü+%&=?#🐘", "a//b", "trailing/", "it's (odd)*!~"])("gets the object of the key %s", async (Key) => {
    store.put("bucket", Key, Key);
    expect((await get({ Key })).bytes.toString()).toBe(Key);
  });
});
