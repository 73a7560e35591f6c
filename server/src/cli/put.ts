import { stat } from "node:fs/promises";
import { basename } from "node:path";
import { urlForms } from "@frontcache/proto";
import type { Command } from "commander";
import { addClientOptions, type ClientFlags, checkUrl, withClient } from "./client-options.js";
import { UsageError } from "./exit-code.js";
import { addJsonOption, type JsonFlags, printFields } from "./print.js";
import { openProgressBar } from "./progress-bar.js";

interface PutFlags extends ClientFlags, JsonFlags {
  readonly contentType?: string;
  readonly contentEncoding?: string;
  readonly cacheControl?: string;
  readonly meta?: readonly string[];
  readonly ifVersion?: string;
  readonly ifMissing?: boolean;
}

/** `frontcache put`: writes a file to an object. */
export function addPut(program: Command): void {
  const command = program
    .command("put")
    .summary("write an object through the cache")
    .description(
      "Writes a file, or standard input, to an object through the cache, in parts if it is long. Every member returns the new version at once. The members must allow it (--writes).",
    )
    .argument("<file>", "path of a file; -: standard input")
    .argument("<url>", `${urlForms("bucket/key")}; a key that ends with / gets the file's name`)
    .option("--content-type <type>", "media type of the object (default: application/octet-stream)")
    .option("--content-encoding <encoding>", "for example gzip, if the file is compressed")
    .option("--cache-control <value>", "for example max-age=3600")
    .option("--meta <name=value>", "metadata of the object; may be repeated", collect)
    .option("--if-version <version>", "write only if this is the current version (S3: ETag; GCS: generation)")
    .option("--if-missing", "write only if there is no such object")
    .addHelpText(
      "after",
      `
Examples:
  frontcache put weights.bin s3://models/llama/
  pg_dump shop | frontcache put - s3://backups/shop.sql --meta by=nightly`,
    );
  addJsonOption(addClientOptions(command)).action(put);
}

async function put(file: string, target: string, flags: PutFlags): Promise<void> {
  const isInput = file === "-";
  if (isInput && target.endsWith("/")) throw new UsageError(`${target} names a folder: give the object's whole URL`);
  const url = checkUrl(target.endsWith("/") ? `${target}${basename(file)}` : target);
  const { contentType, contentEncoding, cacheControl, ifVersion, ifMissing } = flags;
  const metadata = metadataOf(flags.meta ?? []);
  const size = isInput ? 0 : (await stat(file)).size;
  await withClient(flags, async (client, signal) => {
    const bar = openProgressBar(process.stderr);
    let bytes = 0;
    const onProgress = (sentBytes: number): void => {
      bytes = sentBytes;
      bar.update(sentBytes, size);
    };
    const described = { contentType, contentEncoding, cacheControl, metadata, ifVersion, ifMissing };
    const body = isInput ? process.stdin : { file };
    const { version, versionId } = await client.put(url, body, { ...described, signal, onProgress }).finally(() => bar.end());
    printFields({ url, version, versionId, bytes }, flags);
  });
}

function collect(value: string, earlier: readonly string[] = []): readonly string[] {
  return [...earlier, value];
}

function metadataOf(pairs: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    pairs.map((pair) => {
      const [, name, value] = /^([^=]+)=(.*)$/s.exec(pair) ?? [];
      if (name === undefined || value === undefined) throw new UsageError(`--meta: ${JSON.stringify(pair)} is not name=value`);
      return [name, value];
    }),
  );
}
