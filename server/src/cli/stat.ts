import { urlForms } from "@frontcache/proto";
import type { Command } from "commander";
import { addClientOptions, type ClientFlags, checkUrl, withClient } from "./client-options.js";
import { addJsonOption, type JsonFlags, printFields } from "./print.js";

interface StatFlags extends ClientFlags, JsonFlags {
  readonly objectVersion?: string;
}

/** `frontcache stat`: shows the metadata of an object. */
export function addStat(program: Command): void {
  const command = program
    .command("stat")
    .summary("show the metadata of an object")
    .description(
      "Shows the version, size, type and further headers of an object, and how many of its bytes the answering member has cached.",
    )
    .argument("<url>", urlForms("bucket/key"))
    .option("--object-version <version>", "only this version (S3: ETag; GCS: generation)")
    .addHelpText("after", "\nExample:\n  frontcache stat s3://datasets/events/2026-11-01.parquet --json | jq .objectSize");
  addJsonOption(addClientOptions(command)).action(stat);
}

async function stat(url: string, flags: StatFlags): Promise<void> {
  checkUrl(url);
  await withClient(flags, async (client, signal) => {
    const stat = await client.stat(url, flags.objectVersion, { signal });
    const { version, objectSize, contentType, lastModifiedMs, cachedBytes, headers } = stat;
    const lastModified = lastModifiedMs === undefined ? undefined : new Date(lastModifiedMs).toISOString();
    printFields({ url, version, objectSize, contentType, lastModified, cachedBytes, ...headers }, flags);
  });
}
