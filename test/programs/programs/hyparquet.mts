// Reads two columns of a Parquet file.
import { deepEqual } from "node:assert/strict";
import { CacheClient } from "@frontcache/client";
import { parquetReadObjects } from "hyparquet";

await using cache = await CacheClient.connect({
  endpoint: process.argv[2]!,
  connectTimeoutMs: 60_000,
  near: { memory: "16MiB" },
});
const file = await cache.open("s3://bucket/table.parquet");
const rows = await parquetReadObjects({ file, columns: ["id", "name"], rowStart: 10, rowEnd: 12 });
deepEqual(rows, [
  { id: 10, name: "row 10" },
  { id: 11, name: "row 11" },
]);
console.log("ok");
