// Worker threads that each have a client. The results are transferred, not copied.
import { deepEqual } from "node:assert/strict";
import { once } from "node:events";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { CacheClient } from "@frontcache/client";

const BYTES = 1 << 20;

if (isMainThread) {
  const endpoint = process.argv[2]!;
  const workers = [0, 1].map((index) => new Worker(new URL(import.meta.url), { workerData: { endpoint, index } }));
  const parts = await Promise.all(workers.map(async (worker) => ((await once(worker, "message")) as [Uint8Array])[0]));
  await using cache = await CacheClient.connect({ endpoint, connectTimeoutMs: 60_000 });
  deepEqual(Buffer.concat(parts), await cache.readRange("s3://bucket/object", 0, 2 * BYTES));
  console.log("ok");
} else {
  const { endpoint, index } = workerData as { endpoint: string; index: number };
  await using cache = await CacheClient.connect({ endpoint, connectTimeoutMs: 60_000 });
  const bytes = await cache.readRange("s3://bucket/object", index * BYTES, BYTES);
  parentPort!.postMessage(bytes, [bytes.buffer as ArrayBuffer]);
}
