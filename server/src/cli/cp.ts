import { parsePrefixUrl, urlForms } from "@frontcache/proto";
import type { Command } from "commander";
import { addClientOptions, asUsage, type ClientFlags, checkUrl, withClient } from "./client-options.js";
import { addJsonOption, type JsonFlags, printFields } from "./print.js";

interface CopyFlags extends ClientFlags, JsonFlags {
  readonly objectVersion?: string;
}

/** `frontcache cp`: copies an object within its store. */
export function addCopy(program: Command): void {
  const command = program
    .command("cp")
    .summary("copy an object within its store")
    .description(
      "Copies an object within its store, with its metadata. The store copies the bytes itself. The members must allow it (--writes). For local files, use get and put.",
    )
    .argument("<from>", urlForms("bucket/key"))
    .argument("<to>", "the new object's URL; a key that ends with / gets the name of the first object")
    .option("--object-version <version>", "only this version (S3: ETag; GCS: generation)")
    .addHelpText("after", "\nExample:\n  frontcache cp s3://models/new/weights.bin s3://models/current/");
  addJsonOption(addClientOptions(command)).action(copy);
}

async function copy(from: string, to: string, flags: CopyFlags): Promise<void> {
  checkUrl(from);
  const isFolder = asUsage(undefined, () => parsePrefixUrl(to)).prefix.endsWith("/");
  const url = checkUrl(isFolder ? `${to}${from.slice(from.lastIndexOf("/") + 1)}` : to);
  await withClient(flags, async (client, signal) => {
    const { version, versionId } = await client.copy(from, url, { version: flags.objectVersion, signal });
    printFields({ url, version, versionId }, flags);
  });
}
