// Reads an Arrow file batch by batch.
import { equal } from "node:assert/strict";
import type { FileHandle } from "node:fs/promises";
import { CacheClient } from "@frontcache/client";
import { type AsyncRecordBatchFileReader, RecordBatchReader } from "apache-arrow";

await using cache = await CacheClient.connect({ endpoint: process.argv[2]!, connectTimeoutMs: 60_000 });
const file = await cache.open("s3://bucket/table.arrow");
// The parts of a FileHandle that Arrow uses.
const reader = await RecordBatchReader.from(file as unknown as FileHandle);
let sum = 0;
for await (const batch of reader as AsyncRecordBatchFileReader) for (const row of batch) sum += Number(row.id);
equal(sum, 4_950);
console.log("ok");
