import { createRequire } from "node:module";
import { BUCKET, CLIENT_FOLDER, ENDPOINT, written } from "./task.mjs";

const { Client } = createRequire(`${CLIENT_FOLDER}/`)("minio");
const { hostname, port } = new URL(ENDPOINT);
const access = { accessKey: "any", secretKey: "any-secret" };
const client = new Client({ endPoint: hostname, port: Number(port), useSSL: false, partSize: 5 << 20, ...access });
const { files, deleted } = written();
for (const [key, path] of files) await client.fPutObject(BUCKET, key, path);
await client.removeObjects(BUCKET, deleted);
