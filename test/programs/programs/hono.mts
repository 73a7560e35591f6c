// A Hono handler that answers with a stream of the web platform.
import { deepEqual } from "node:assert/strict";
import { CacheClient } from "@frontcache/client";
import { Hono } from "hono";

await using cache = await CacheClient.connect({ endpoint: process.argv[2]!, connectTimeoutMs: 60_000 });
const app = new Hono();
app.get("/tail/:bytes", async (context) => {
  const { version, objectSize } = await cache.stat("s3://bucket/object");
  const offset = Math.max(0, objectSize - Number(context.req.param("bytes")));
  return new Response(cache.webStream("s3://bucket/object", offset, undefined, version));
});

const response = await app.request("/tail/1000");
deepEqual(Buffer.from(await response.arrayBuffer()), await cache.readRange("s3://bucket/object", -1_000, 1_000));
console.log("ok");
