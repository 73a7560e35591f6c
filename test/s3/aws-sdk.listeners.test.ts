import {
  GetBucketAclCommand,
  GetBucketLocationCommand,
  GetBucketVersioningCommand,
  GetObjectCommand,
  type GetObjectCommandInput,
  GetObjectTaggingCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListBucketsCommand,
  ListObjectsCommand,
  type ListObjectsCommandOutput,
  ListObjectsV2Command,
  NoSuchKey,
  PutObjectCommand,
  paginateListBuckets,
  paginateListObjectsV2,
  type S3Client,
} from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { rampBytes, S3Emulator } from "../emulators/s3.js";
import { HttpStack } from "./http-stack.js";
import { sdkClient } from "./sdk-client.js";

const OBJECT = rampBytes(0, 600_000, 7);

let store: S3Emulator;
let stack: HttpStack;
let client: S3Client;
let version: string;

beforeAll(async () => {
  store = await S3Emulator.start();
  version = store.put("bucket", "object", OBJECT, { contentType: "text/plain" });
  stack = await HttpStack.open(store.endpoint);
  client = sdkClient(stack.endpoint);
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
    expect(await failureOf(client.send(new GetBucketAclCommand({ Bucket: "bucket" })))).toEqual([501, "NotImplemented"]);
    expect(await failureOf(client.send(new ListObjectsCommand({ Bucket: "missing" })))).toEqual([404, "NoSuchBucket"]);
    expect(await failureOf(client.send(new HeadBucketCommand({ Bucket: "missing" })))).toEqual([404, "NotFound"]);
    expect(await failureOf(client.send(new ListObjectsV2Command({ Bucket: "missing" })))).toEqual([404, "NoSuchBucket"]);
    expect(await failureOf(get({ PartNumber: 2 }))).toEqual([416, "InvalidPartNumber"]);
    expect(await failureOf(get({ PartNumber: 1, Range: "bytes=0-1" }))).toEqual([400, "InvalidRequest"]);
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

  it.each(["both", "first", "second"] as const)("lists by both forms whatever forms the store has (%s)", async (forms) => {
    store.listForms = forms;
    const keys = Array.from({ length: 25 }, (_, at) => `dir ${at % 3}/it's ü&${String(at).padStart(2, "0")}`).sort();
    for (const key of [...keys, "top"]) store.put("forms", key, key);
    const listed: (string | undefined)[] = [];
    for (let Marker: string | undefined = ""; Marker !== undefined; ) {
      const { Contents = [], IsTruncated }: ListObjectsCommandOutput = await client.send(
        new ListObjectsCommand({ Bucket: "forms", MaxKeys: 4, Marker }),
      );
      listed.push(...Contents.map(({ Key }) => Key));
      for (const { Owner } of Contents) expect(Owner?.DisplayName).toBe("somebody");
      Marker = IsTruncated === true ? Contents.at(-1)!.Key : undefined;
    }
    expect(listed).toEqual([...keys, "top"]);
    const folded: (string | undefined)[] = [];
    for (let Marker: string | undefined = ""; Marker !== undefined; ) {
      const page: ListObjectsCommandOutput = await client.send(
        new ListObjectsCommand({ Bucket: "forms", MaxKeys: 1, Delimiter: "/", Marker }),
      );
      folded.push(...(page.CommonPrefixes ?? []).map(({ Prefix }) => Prefix), ...(page.Contents ?? []).map(({ Key }) => Key));
      Marker = page.NextMarker;
    }
    expect(folded).toEqual(["dir 0/", "dir 1/", "dir 2/", "top"]);
    const second: (string | undefined)[] = [];
    for await (const page of paginateListObjectsV2(
      { client, pageSize: 4 },
      { Bucket: "forms", StartAfter: keys[2], FetchOwner: true },
    )) {
      second.push(...(page.Contents ?? []).map(({ Key }) => Key));
    }
    expect(second).toEqual([...keys.slice(3), "top"]);
    store.listForms = "both";
  });

  it("lists the buckets of the store, page by page if it asks for pages", async () => {
    const all = store.objects.buckets();
    const { Buckets = [], Owner } = await client.send(new ListBucketsCommand({}));
    expect(Buckets.map(({ Name }) => Name)).toEqual(all);
    expect(Owner?.DisplayName).toBe("somebody");
    const paged: (string | undefined)[] = [];
    for await (const page of paginateListBuckets({ client, pageSize: 1 }, { Prefix: all[0]!.slice(0, 1) })) {
      paged.push(...(page.Buckets ?? []).map(({ Name }) => Name));
    }
    expect(paged).toEqual(all.filter((name) => name.startsWith(all[0]!.slice(0, 1))));
  });

  it("gets the origin's own answers to sub-resources", async () => {
    const tags = await client.send(new GetObjectTaggingCommand({ Bucket: "bucket", Key: "object" }));
    expect(tags.TagSet).toEqual([{ Key: "team", Value: "lake" }]);
    expect((await client.send(new GetBucketVersioningCommand({ Bucket: "bucket" }))).Status).toBe("Enabled");
    const missing = new GetObjectTaggingCommand({ Bucket: "bucket", Key: "missing" });
    expect(await failureOf(client.send(missing))).toEqual([404, "NoSuchKey"]);
    expect(await failureOf(client.send(new GetBucketAclCommand({ Bucket: "missing" })))).toEqual([404, "NoSuchBucket"]);
  });

  it("gets the newest version of an object that a listing names", async () => {
    store.put("listed-news", "key", "one");
    const read = async () => (await get({ Bucket: "listed-news", Key: "key" })).bytes.toString();
    expect(await read()).toBe("one");
    store.put("listed-news", "key", "two");
    expect(await read()).toBe("one");
    await client.send(new ListObjectsV2Command({ Bucket: "listed-news" }));
    expect(await read()).toBe("two");
    store.put("listed-news", "key", "three");
    await client.send(new ListObjectsCommand({ Bucket: "listed-news" }));
    expect(await read()).toBe("three");
  });

  it("finds out whether a bucket exists, and its region", async () => {
    const head = await client.send(new HeadBucketCommand({ Bucket: "bucket" }));
    expect(head.BucketRegion).toBe("us-east-1");
    expect((await client.send(new GetBucketLocationCommand({ Bucket: "bucket" }))).LocationConstraint).toBeUndefined();
  });

  it.each(["a b/ü+%&=?#🐘", "a//b", "trailing/", "it's (odd)*!~"])("gets the object of the key %s", async (Key) => {
    store.put("bucket", Key, Key);
    expect((await get({ Key })).bytes.toString()).toBe(Key);
  });
});
