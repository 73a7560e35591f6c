// A Fastify handler that streams an object.
import { deepEqual, equal } from "node:assert/strict";
import { CacheClient, CacheError } from "@frontcache/client";
import { fastify } from "fastify";

await using cache = await CacheClient.connect({ endpoint: process.argv[2]!, connectTimeoutMs: 60_000 });
const app = fastify();
app.get<{ Params: { "*": string } }>("/files/*", async (request, reply) => {
  const url = `s3://bucket/${request.params["*"]}`;
  const { version, objectSize, contentType } = await cache.stat(url);
  reply
    .header("content-length", objectSize)
    .header("etag", `"${version}"`)
    .type(contentType ?? "application/octet-stream");
  return reply.send(cache.stream(url, 0, undefined, version));
});
app.setErrorHandler((error, _request, reply) => {
  void reply.code(error instanceof CacheError ? error.httpStatus : 500).send({ error: String(error) });
});

const address = await app.listen({ port: 0, host: "127.0.0.1" });
const response = await fetch(`${address}/files/object`);
deepEqual(Buffer.from(await response.arrayBuffer()), await cache.readObject("s3://bucket/object"));
equal((await fetch(`${address}/files/missing`)).status, 404);
await app.close();
console.log("ok");
