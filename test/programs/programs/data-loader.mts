// A data loader: reads samples ahead, never more than four at a time, and stops with its consumer.
import { equal } from "node:assert/strict";
import { CacheClient } from "@frontcache/client";

const SAMPLE_BYTES = 100_000;

async function* samples(cache: CacheClient, url: string, ahead: number): AsyncGenerator<Buffer, void> {
  const stopped = new AbortController();
  const { version, objectSize } = await cache.stat(url);
  const running: Promise<Buffer>[] = [];
  try {
    for (let offset = 0; offset < objectSize || running.length > 0; ) {
      while (running.length < ahead && offset < objectSize) {
        const read = cache.readRange(url, offset, SAMPLE_BYTES, version, { signal: stopped.signal });
        read.catch(() => undefined);
        running.push(read);
        offset += SAMPLE_BYTES;
      }
      yield await running.shift()!;
    }
  } finally {
    stopped.abort();
  }
}

await using cache = await CacheClient.connect({ endpoint: process.argv[2]!, connectTimeoutMs: 60_000 });
let bytes = 0;
for await (const sample of samples(cache, "s3://bucket/object", 4)) bytes += sample.length;
equal(bytes, (await cache.stat("s3://bucket/object")).objectSize);
for await (const sample of samples(cache, "s3://bucket/object", 4)) {
  equal(sample.length, SAMPLE_BYTES);
  break;
}
console.log("ok");
