import { createHash } from "node:crypto";
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  HeadObjectCommand,
  PutObjectCommand,
  type PutObjectCommandInput,
  PutObjectTaggingCommand,
  type S3Client,
  UploadPartCommand,
  UploadPartCopyCommand,
} from "@aws-sdk/client-s3";
import { rampBytes } from "@frontcache/server/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { GcsEmulator } from "../emulators/gcs.js";
import type { HttpStack } from "../s3/http-stack.js";
import { readText, sdkClient } from "../s3/sdk-client.js";
import { openGcsStack } from "./gcs-stack.js";

let store: GcsEmulator;
let stack: HttpStack;
let client: S3Client;

beforeAll(async () => {
  store = await GcsEmulator.start();
  store.put("bucket", "there", "there");
  stack = await openGcsStack(store, { writes: true });
  client = sdkClient(`http://127.0.0.1:${stack.listener.address.port}/gs`, 1);
});

afterAll(async () => {
  client.destroy();
  await stack[Symbol.asyncDispose]();
  await store.close();
});

const BUCKET = { Bucket: "bucket" };

const read = (key: string) => readText(client, "bucket", key);

const put = (Key: string, Body: string | Buffer, more: Partial<PutObjectCommandInput> = {}) =>
  client.send(new PutObjectCommand({ ...BUCKET, Key, Body, ...more }));

const generationOf = (key: string) => store.objects.get("bucket", key)!.version;

describe("a write of an S3 client to a bucket of GCS", () => {
  it("keeps the object's metadata, and answers with its generation as ETag", async () => {
    const described = {
      ContentType: "text/plain",
      CacheControl: "max-age=60",
      ContentDisposition: "inline",
      ContentLanguage: "de",
      Metadata: { author: "ada" },
      StorageClass: "STANDARD",
    } as const;
    const written = await put("dir/a b+ü", "hello", described);
    expect(written.ETag).toBe(`"${generationOf("dir/a b+ü")}"`);
    expect(await read("dir/a b+ü")).toBe("hello");
    const head = await client.send(new HeadObjectCommand({ ...BUCKET, Key: "dir/a b+ü" }));
    const { StorageClass: _, ...expected } = described;
    expect(head).toMatchObject({ ...expected, ContentLength: 5, ETag: written.ETag });
  });

  it("is read back, each version of it, until it is deleted", async () => {
    for (const text of ["first", "second", "third"]) {
      await put("k", text);
      expect(await read("k")).toBe(text);
    }
    await client.send(new DeleteObjectCommand({ ...BUCKET, Key: "k" }));
    await expect(read("k")).rejects.toMatchObject({ name: "NoSuchKey" });
    // To S3, an object that does not exist is deleted.
    expect((await client.send(new DeleteObjectCommand({ ...BUCKET, Key: "k" }))).$metadata.httpStatusCode).toBe(204);
  });

  it.each(["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"] as const)(
    "streams a large body with a checksum of %s",
    async (ChecksumAlgorithm) => {
      const body = rampBytes(0, 600_000, 5);
      await put("large", body, { ChecksumAlgorithm });
      const hash = store.writes.lastHeaders["x-goog-hash"];
      expect(hash?.toString().startsWith("crc32c=") ?? false).toBe(ChecksumAlgorithm === "CRC32C");
      const before = store.traffic.gets.length;
      expect(await read("large")).toBe(body.toString("latin1"));
      expect(store.traffic.gets.length).toBe(before);
    },
  );

  it("with a wrong checksum is refused, and nothing is written", async () => {
    for (const body of ["x", rampBytes(0, 600_000, 7)]) {
      const md5 = createHash("md5").update("other").digest("base64");
      await expect(put("damaged", body, { ContentMD5: md5 })).rejects.toMatchObject({ name: "BadDigest" });
      await expect(put("damaged", body, { ChecksumCRC32C: "AAAAAA==" })).rejects.toMatchObject({ name: "BadDigest" });
    }
    expect(store.objects.get("bucket", "damaged")).toBeUndefined();
  });

  it("obeys conditions, whose ETags are generations", async () => {
    await put("conditional", "one", { IfNoneMatch: "*" });
    await expect(put("conditional", "two", { IfNoneMatch: "*" })).rejects.toMatchObject({ name: "PreconditionFailed" });
    await expect(put("conditional", "two", { IfMatch: '"7"' })).rejects.toMatchObject({ name: "PreconditionFailed" });
    const md5 = `"${createHash("md5").update("one").digest("hex")}"`;
    await expect(put("conditional", "two", { IfMatch: md5 })).rejects.toMatchObject({ name: "PreconditionFailed" });
    await put("conditional", "three", { IfMatch: `"${generationOf("conditional")}"` });
    expect(await read("conditional")).toBe("three");
  });

  it("uploads in parts, which are put together at the end", async () => {
    const Key = "parts";
    await put(Key, "old");
    const created = await client.send(
      new CreateMultipartUploadCommand({ ...BUCKET, Key, ChecksumAlgorithm: "CRC32", ContentType: "text/x" }),
    );
    const of = { ...BUCKET, Key, UploadId: created.UploadId };
    const Parts = await Promise.all(
      [1, 2, 3].map(async (PartNumber) => {
        const part = { ...of, PartNumber, Body: `part ${PartNumber}.`, ChecksumAlgorithm: "CRC32" as const };
        const { ETag } = await client.send(new UploadPartCommand(part));
        return { PartNumber, ETag, ChecksumCRC32: "AAAAAA==" };
      }),
    );
    expect(await read(Key)).toBe("old");
    const { ETag } = await client.send(new CompleteMultipartUploadCommand({ ...of, MultipartUpload: { Parts } }));
    expect(ETag).toBe(`"${generationOf(Key)}"`);
    expect(await read(Key)).toBe("part 1.part 2.part 3.");
    expect((await client.send(new HeadObjectCommand({ ...BUCKET, Key }))).ContentType).toBe("text/x");
  });

  it("aborts an upload in parts", async () => {
    const { UploadId } = await client.send(new CreateMultipartUploadCommand({ ...BUCKET, Key: "aborted" }));
    const of = { ...BUCKET, Key: "aborted", UploadId };
    await client.send(new UploadPartCommand({ ...of, PartNumber: 1, Body: "x" }));
    await client.send(new AbortMultipartUploadCommand(of));
    await expect(client.send(new UploadPartCommand({ ...of, PartNumber: 2, Body: "x" }))).rejects.toMatchObject({
      name: "NoSuchUpload",
    });
    expect(store.writes.openUploads).toBe(0);
  });

  it("copies at GCS, with or without new metadata", async () => {
    await put("source é", "copied", { Metadata: { a: "1" } });
    const CopySource = `bucket/${encodeURIComponent("source é")}`;
    const { CopyObjectResult } = await client.send(
      new CopyObjectCommand({ ...BUCKET, Key: "copy", CopySource, CopySourceIfMatch: `"${generationOf("source é")}"` }),
    );
    expect(CopyObjectResult?.ETag).toBe(`"${generationOf("copy")}"`);
    expect(await read("copy")).toBe("copied");
    const replaced = { ...BUCKET, Key: "copy", CopySource, MetadataDirective: "REPLACE" as const, Metadata: { b: "2" } };
    await client.send(new CopyObjectCommand(replaced));
    expect((await client.send(new HeadObjectCommand({ ...BUCKET, Key: "copy" }))).Metadata).toEqual({ b: "2" });
    await expect(
      client.send(new CopyObjectCommand({ ...BUCKET, Key: "copy", CopySource, CopySourceIfMatch: '"7"' })),
    ).rejects.toMatchObject({ name: "PreconditionFailed" });
  });

  it("deletes many objects, also those that do not exist", async () => {
    for (const key of ["many/1", "many/2"]) await put(key, key);
    expect(await read("many/1")).toBe("many/1");
    const Objects = ["many/1", "many/2", "many/3"].map((Key) => ({ Key }));
    const { Deleted, Errors } = await client.send(new DeleteObjectsCommand({ ...BUCKET, Delete: { Objects } }));
    expect([Deleted?.map(({ Key }) => Key), Errors]).toEqual([["many/1", "many/2", "many/3"], undefined]);
    await expect(read("many/1")).rejects.toMatchObject({ name: "NoSuchKey" });
  });

  it("finds that the bucket exists already", async () => {
    await expect(client.send(new CreateBucketCommand(BUCKET))).rejects.toMatchObject({ name: "BucketAlreadyOwnedByYou" });
  });

  const REFUSED: [string, () => Promise<unknown>][] = [
    ["tags", () => put("refused", "x", { Tagging: "a=b" })],
    ["Expires", () => put("refused", "x", { Expires: new Date(0) })],
    ["a storage class of AWS", () => put("refused", "x", { StorageClass: "GLACIER" })],
    ["encryption by AWS's keys", () => put("refused", "x", { ServerSideEncryption: "aws:kms" })],
    ["a retention", () => put("refused", "x", { ObjectLockLegalHoldStatus: "ON" })],
    ["a website redirect", () => put("refused", "x", { WebsiteRedirectLocation: "/other" })],
    ["an expected owner", () => put("refused", "x", { ExpectedBucketOwner: "111122223333" })],
    ["If-None-Match of a version", () => put("refused", "x", { IfNoneMatch: '"7"' })],
    [
      "UploadPartCopy",
      () =>
        client.send(
          new UploadPartCopyCommand({ ...BUCKET, Key: "refused", UploadId: "u", PartNumber: 1, CopySource: "bucket/there" }),
        ),
    ],
    ["PutObjectTagging", () => client.send(new PutObjectTaggingCommand({ ...BUCKET, Key: "there", Tagging: { TagSet: [] } }))],
    ["a new bucket", () => client.send(new CreateBucketCommand({ Bucket: "new-bucket" }))],
  ];

  it.each(REFUSED)("is refused with %s, because GCS has no equivalent", async (name, write) => {
    const before = store.writes.requests.length;
    await expect(write()).rejects.toMatchObject({ name: name === "a new bucket" ? "NoSuchBucket" : "NotImplemented" });
    expect(store.writes.requests.length).toBe(before);
  });

  it("brings its own key in the headers of S3", async () => {
    const key = Buffer.alloc(32, 7);
    const SSECustomerKey = key.toString("base64");
    const SSECustomerKeyMD5 = createHash("md5").update(key).digest("base64");
    await put("secret", "x", { SSECustomerAlgorithm: "AES256", SSECustomerKey, SSECustomerKeyMD5 });
    const { lastHeaders } = store.writes;
    expect(lastHeaders["x-goog-encryption-key"]).toBe(SSECustomerKey);
    expect(lastHeaders["x-goog-encryption-key-sha256"]).toBe(createHash("sha256").update(key).digest("base64"));
  });
});
