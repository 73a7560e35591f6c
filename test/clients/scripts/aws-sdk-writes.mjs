import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { BUCKET, CLIENT_FOLDER, ENDPOINT, written } from "./task.mjs";

const s3 = createRequire(`${CLIENT_FOLDER}/`)("@aws-sdk/client-s3");
const client = new s3.S3Client({ endpoint: ENDPOINT, forcePathStyle: true });
const { files, deleted } = written();
const PART_BYTES = 5 << 20;

/** Uploads the parts of an object at the same time. */
async function uploadParts(of, bytes) {
  const { UploadId } = await client.send(new s3.CreateMultipartUploadCommand({ ...of, ChecksumAlgorithm: "CRC32C" }));
  const count = Math.ceil(bytes.length / PART_BYTES);
  const Parts = await Promise.all(
    Array.from({ length: count }, async (_, at) => {
      const Body = bytes.subarray(at * PART_BYTES, (at + 1) * PART_BYTES);
      const part = { ...of, UploadId, PartNumber: at + 1, Body, ChecksumAlgorithm: "CRC32C" };
      const { ETag, ChecksumCRC32C } = await client.send(new s3.UploadPartCommand(part));
      return { PartNumber: at + 1, ETag, ChecksumCRC32C };
    }),
  );
  await client.send(new s3.CompleteMultipartUploadCommand({ ...of, UploadId, MultipartUpload: { Parts } }));
}

for (const [Key, path] of files) {
  const bytes = readFileSync(path);
  const of = { Bucket: BUCKET, Key };
  if (bytes.length > PART_BYTES) await uploadParts(of, bytes);
  else await client.send(new s3.PutObjectCommand({ ...of, Body: bytes }));
}
const Objects = deleted.map((Key) => ({ Key }));
const { Errors = [] } = await client.send(new s3.DeleteObjectsCommand({ Bucket: BUCKET, Delete: { Objects } }));
if (Errors.length > 0) throw new Error(`not deleted: ${JSON.stringify(Errors)}`);
