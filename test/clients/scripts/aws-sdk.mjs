import { createRequire } from "node:module";
import { BUCKET, CLIENT_FOLDER, ENDPOINT, KEYS, listed, report } from "./task.mjs";

const { S3Client, GetObjectCommand, ListBucketsCommand, paginateListObjectsV2 } = createRequire(`${CLIENT_FOLDER}/`)(
  "@aws-sdk/client-s3",
);
const client = new S3Client({ endpoint: ENDPOINT, forcePathStyle: true });
for (const Key of KEYS) {
  const { Body } = await client.send(new GetObjectCommand({ Bucket: BUCKET, Key }));
  report(Key, Buffer.from(await Body.transformToByteArray()));
}
const keys = [];
for await (const { Contents = [] } of paginateListObjectsV2({ client, pageSize: 2 }, { Bucket: BUCKET })) {
  keys.push(...Contents.map(({ Key }) => Key));
}
const { Buckets } = await client.send(new ListBucketsCommand({}));
if (!Buckets.some(({ Name }) => Name === BUCKET)) throw new Error("the bucket is not listed");
listed(keys);
