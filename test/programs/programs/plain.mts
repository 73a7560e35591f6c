// Runs in Node, Bun and Deno alike.
import { deepEqual } from "node:assert/strict";
import { CacheClient, CacheError } from "@frontcache/client";

const cache = await CacheClient.connect({ endpoint: process.argv[2]!, connectTimeoutMs: 60_000 });
const url = "s3://bucket/object";
const whole = await cache.readObject(url);
deepEqual(await cache.readRange(url, 1_000_000, 70_000), whole.subarray(1_000_000, 1_070_000));
const chunks: Uint8Array[] = [];
for await (const chunk of cache.stream(url)) chunks.push(chunk);
deepEqual(Buffer.concat(chunks), whole);
try {
  await cache.readObject("s3://bucket/missing");
  throw new Error("a missing object was read");
} catch (error) {
  if (!(error instanceof CacheError) || error.code !== "NOT_FOUND") throw error;
}
await cache.close();
console.log("ok");
