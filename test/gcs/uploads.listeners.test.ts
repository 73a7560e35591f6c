import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  type ListMultipartUploadsCommandInput,
  ListPartsCommand,
  paginateListParts,
  type S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { GcsEmulator } from "../emulators/gcs.js";
import type { HttpStack } from "../s3/http-stack.js";
import { sdkClient } from "../s3/sdk-client.js";
import { openGcsStack } from "./gcs-stack.js";

const BUCKET = { Bucket: "bucket" };

let store: GcsEmulator;
let stack: HttpStack;
let client: S3Client;
/** The uploads of a test. */
let begun: { Bucket: string; Key: string; UploadId: string }[] = [];

beforeAll(async () => {
  store = await GcsEmulator.start();
  store.objects.createBucket("bucket");
  stack = await openGcsStack(store, { writes: true });
  client = sdkClient(`http://127.0.0.1:${stack.listener.address.port}/gs`, 1);
});

afterEach(async () => {
  for (const upload of begun) await client.send(new AbortMultipartUploadCommand(upload)).catch(() => {}); // it is completed
  begun = [];
});

afterAll(async () => {
  client.destroy();
  await stack[Symbol.asyncDispose]();
  await store.close();
});

async function begin(Key: string) {
  const { UploadId } = await client.send(new CreateMultipartUploadCommand({ ...BUCKET, Key }));
  const upload = { ...BUCKET, Key, UploadId: UploadId! };
  begun.push(upload);
  return upload;
}

const listUploads = (query: Partial<ListMultipartUploadsCommandInput> = {}) =>
  client.send(new ListMultipartUploadsCommand({ ...BUCKET, ...query }));

describe("ListParts of an upload to a bucket of GCS", () => {
  it("returns the parts with the ETags that complete the upload", async () => {
    const upload = await begin("dir/a b+ü&?");
    for (const PartNumber of [3, 1]) {
      await client.send(new UploadPartCommand({ ...upload, PartNumber, Body: `part ${PartNumber}.` }));
    }
    const { Parts, ...listed } = await client.send(new ListPartsCommand(upload));
    expect(listed).toMatchObject({ ...upload, IsTruncated: false });
    expect(Parts?.map(({ PartNumber, Size }) => [PartNumber, Size])).toEqual([
      [1, 7],
      [3, 7],
    ]);
    const named = Parts!.map(({ PartNumber, ETag }) => ({ PartNumber, ETag }));
    await client.send(new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts: named } }));
    expect(store.objects.get("bucket", upload.Key)?.size).toBe(14);
    await expect(client.send(new ListPartsCommand(upload))).rejects.toMatchObject({ name: "NoSuchUpload" });
  });

  it("returns pages, which the client requests one by one", async () => {
    const upload = await begin("paged");
    for (let PartNumber = 1; PartNumber <= 5; PartNumber++) {
      await client.send(new UploadPartCommand({ ...upload, PartNumber, Body: "x" }));
    }
    const pages: (number | undefined)[][] = [];
    for await (const { Parts } of paginateListParts({ client, pageSize: 2 }, upload)) {
      pages.push((Parts ?? []).map(({ PartNumber }) => PartNumber));
    }
    expect(pages).toEqual([[1, 2], [3, 4], [5]]);
  });

  it("returns GCS's error for an upload of another object", async () => {
    const { UploadId } = await begin("mine");
    await expect(client.send(new ListPartsCommand({ ...BUCKET, Key: "other", UploadId }))).rejects.toMatchObject({
      name: "NoSuchUpload",
      $metadata: { httpStatusCode: 404 },
    });
  });
});

describe("ListMultipartUploads of a bucket of GCS", () => {
  it("returns the uploads that have not ended, in the order of their keys", async () => {
    const uploads = [await begin("b"), await begin("a/é +"), await begin("b")];
    const { Uploads } = await listUploads();
    const expected = [uploads[1]!, uploads[0]!, uploads[2]!].map(({ Key, UploadId }) => ({ Key, UploadId }));
    expect(Uploads).toMatchObject(expected);
    expect(Uploads).toHaveLength(3);
    await client.send(new AbortMultipartUploadCommand(uploads[0]!));
    expect((await listUploads()).Uploads?.map(({ Key }) => Key)).toEqual(["a/é +", "b"]);
  });

  it("obeys prefix, delimiter, encoding and markers", async () => {
    for (const key of ["in/a", "in/b/1", "in/b/2", "in/c d", "out"]) await begin(key);
    const folded = await listUploads({ Prefix: "in/", Delimiter: "/", EncodingType: "url" });
    expect(folded.Uploads?.map(({ Key }) => Key)).toEqual(["in/a", "in/c+d"]);
    expect(folded.CommonPrefixes).toEqual([{ Prefix: "in/b/" }]);
    const keys: (string | undefined)[] = [];
    for (let markers: Partial<ListMultipartUploadsCommandInput> = {}; ; ) {
      const page = await listUploads({ MaxUploads: 2, ...markers });
      keys.push(...(page.Uploads ?? []).map(({ Key }) => Key));
      if (page.IsTruncated !== true) break;
      markers = { KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker };
    }
    expect(keys).toEqual(["in/a", "in/b/1", "in/b/2", "in/c d", "out"]);
  });

  it("returns NoSuchBucket if the bucket does not exist", async () => {
    const missing = client.send(new ListMultipartUploadsCommand({ Bucket: "missing" }));
    await expect(missing).rejects.toMatchObject({ name: "NoSuchBucket", $metadata: { httpStatusCode: 404 } });
  });

  it("sends GCS none of the parameters that mean something else there", async () => {
    const queries: string[] = [];
    const forget = store.faults.place({ when: ({ query }) => queries.push(String(query)) === 0 });
    const url = `http://127.0.0.1:${stack.listener.address.port}/gs/bucket?uploads&billing=x&userProject=other&prefix=a%26b`;
    const response = await fetch(url);
    forget();
    expect([response.status, queries]).toEqual([200, ["uploads=&prefix=a%26b"]]);
    expect(response.headers.get("content-type")).toContain("application/xml");
    expect(await response.text()).toContain("<Prefix>a&#38;b</Prefix>");
  });

  it("is refused with an expected owner, which buckets of GCS do not have", async () => {
    const refused = { name: "NotImplemented", $metadata: { httpStatusCode: 501 } };
    await expect(listUploads({ ExpectedBucketOwner: "111122223333" })).rejects.toMatchObject(refused);
    const upload = await begin("k");
    await expect(client.send(new ListPartsCommand({ ...upload, ExpectedBucketOwner: "111122223333" }))).rejects.toMatchObject(
      refused,
    );
    expect((await listUploads({ RequestPayer: "requester" })).Uploads).toHaveLength(1);
  });
});
