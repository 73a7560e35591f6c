import { createRequire } from "node:module";
import { BUCKET, bytesOf, CLIENT_FOLDER, ENDPOINT, KEYS, listed, report } from "./task.mjs";

const { Client } = createRequire(`${CLIENT_FOLDER}/`)("minio");
const { hostname, port } = new URL(ENDPOINT);
const client = new Client({ endPoint: hostname, port: Number(port), useSSL: false, accessKey: "any", secretKey: "any-secret" });
for (const key of KEYS) report(key, await bytesOf(await client.getObject(BUCKET, key)));
if (!(await client.bucketExists(BUCKET))) throw new Error("the bucket does not exist");
const keys = [];
for await (const { name } of client.listObjectsV2(BUCKET, "", true)) keys.push(name);
const first = [];
for await (const { name } of client.listObjects(BUCKET, "", true)) first.push(name);
if (JSON.stringify(first) !== JSON.stringify(keys)) throw new Error("the first form of listing differs");
listed(keys);
