import { CacheError, urlForms } from "@frontcache/proto";
import type { Command } from "commander";
import type { Parser } from "../config/parser.js";
import { duration, formatSize, size, whole } from "../config/quantities.js";
import { addClientOptions, asUsage, type ClientFlags, checkUrl, withClient } from "./client-options.js";
import { addJsonOption, type JsonFlags, printFields } from "./print.js";
import { type LoadedObject, readLoad } from "./read-load.js";

interface BenchFlags extends ClientFlags, JsonFlags {
  readonly size: string;
  readonly concurrency: string;
  readonly duration: string;
}

/** `frontcache bench`: measures throughput and latency of reads. */
export function addBench(program: Command): void {
  const command = program
    .command("bench")
    .summary("measure throughput and latency of reads")
    .description(
      "Reads aligned ranges of the objects in random order and shows throughput and latencies. The first run also fills the cache:\n" +
        "to measure a warm cache, run it twice or use frontcache warm first.",
    )
    .argument("<url...>", `${urlForms("bucket/key")}, one or more`)
    .option("--size <size>", "size of each read", "1MiB")
    .option("--concurrency <number>", "concurrent reads", "16")
    .option("--duration <duration>", "duration of the measurement", "10s")
    .addHelpText(
      "after",
      "\nExample:\n  frontcache bench s3://datasets/events.parquet --size 64KiB --concurrency 64 --duration 30s",
    );
  addJsonOption(addClientOptions(command)).action(bench);
}

async function bench(urls: readonly string[], flags: BenchFlags): Promise<void> {
  for (const url of urls) checkUrl(url);
  const parsed = <T>(name: keyof BenchFlags, parser: Parser<T>): T =>
    asUsage(`--${name}`, () => parser.parse(String(flags[name])));
  const sizeBytes = parsed("size", size(1));
  const concurrency = parsed("concurrency", whole(1, 10_000));
  const durationMs = parsed("duration", duration(1));
  await withClient(flags, async (client, signal) => {
    const objects: LoadedObject[] = [];
    for (const url of new Set(urls)) {
      const { version, objectSize } = await client.stat(url, "", { signal });
      if (objectSize === 0) throw new CacheError("INVALID_ARGUMENT", `${url} is empty: use an object that has bytes`);
      objects.push({ url, version, objectSize });
    }
    const read = async ({ url, version }: LoadedObject, offset: number, length: number): Promise<number> =>
      (await client.readRange(url, offset, length, version, { signal })).length;
    const { lastError, ...report } = await readLoad({ objects, sizeBytes, concurrency, durationMs, read, signal });
    const members = client.members().length;
    printFields({ objects: objects.length, members, size: formatSize(sizeBytes), concurrency, ...report }, flags);
    if (lastError === undefined) return;
    const share = `${report.errors} of ${report.reads + report.errors} reads failed`;
    throw new CacheError(lastError.code, `${share}, the last one with: ${lastError.message}`, { cause: lastError });
  });
}
