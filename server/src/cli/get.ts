import type { CacheClient } from "@frontcache/client";
import type { Command } from "commander";
import { type ByteRange, parseByteRange } from "./byte-range.js";
import { addClientOptions, type ClientFlags, checkUrl, withClient } from "./client-options.js";
import { toFile, toStandardOutput } from "./file-output.js";

interface GetFlags extends ClientFlags {
  readonly range?: string;
  readonly output?: string;
  readonly objectVersion?: string;
}

/** `frontcache get`: an object, or a range of it, to standard output or a file. */
export function addGet(program: Command): void {
  const command = program
    .command("get")
    .summary("read an object through the cache")
    .description("Reads an object, or a range of it, through the cache, to standard output or a file.")
    .argument("<url>", "s3://bucket/key or gs://bucket/key")
    .option("--range <range>", "first-last (both inclusive), first- or -count, as in HTTP")
    .option("-o, --output <file>", "write to a file, which appears when it is complete")
    .option("--object-version <version>", "only this version (S3: the ETag; GCS: the generation)");
  addClientOptions(command).action(get);
}

async function get(url: string, flags: GetFlags): Promise<void> {
  checkUrl(url);
  const range = parseByteRange(flags.range ?? "0-");
  await withClient(flags, async (client, signal) => {
    const { offset, length, version } = await resolveRange(client, { url, range, version: flags.objectVersion ?? "" }, signal);
    const source = client.stream(url, offset, length, version, { signal });
    await (flags.output === undefined ? toStandardOutput(source) : toFile(source, flags.output));
  });
}

interface Wanted {
  readonly url: string;
  readonly range: ByteRange;
  /** Empty: the current version. */
  readonly version: string;
}

/** Where a range lies. The last bytes of an object are found by its size, and are of the version that had this size. */
async function resolveRange(
  client: CacheClient,
  { url, range, version }: Wanted,
  signal: AbortSignal,
): Promise<{ offset: number; length?: number; version: string }> {
  if ("offset" in range) return { ...range, version };
  const info = await client.stat(url, version, { signal });
  return { offset: Math.max(0, info.objectSize - range.lastBytes), version: info.version };
}
