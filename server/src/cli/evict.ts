import { checkUrlBeginning, urlForms } from "@frontcache/proto";
import type { Command } from "commander";
import { addClientOptions, asUsage, type ClientFlags, checkUrl, withClient } from "./client-options.js";
import { addJsonOption, type JsonFlags, printFields } from "./print.js";

interface EvictFlags extends ClientFlags, JsonFlags {
  readonly prefix?: boolean;
  readonly objectVersion?: string;
}

/** `frontcache evict`: removes blocks from all members. */
export function addEvict(program: Command): void {
  const command = program
    .command("evict")
    .summary("remove an object from the cache")
    .description("Removes the cached blocks of an object, or of all objects with a prefix, from all members.")
    .argument("<url>", `${urlForms("bucket/key")}; with --prefix the prefix of a URL`)
    .option("--prefix", "every object whose URL begins with <url>")
    .option("--object-version <version>", "only the blocks of this version")
    .addHelpText("after", "\nExample:\n  frontcache evict s3://datasets/events/ --prefix");
  addJsonOption(addClientOptions(command)).action(evict);
}

async function evict(url: string, flags: EvictFlags): Promise<void> {
  const of = flags.objectVersion === undefined ? {} : { version: flags.objectVersion };
  const selector = flags.prefix
    ? { prefix: asUsage(undefined, () => checkUrlBeginning(url)), ...of }
    : { url: checkUrl(url), ...of };
  await withClient(flags, async (client, signal) => {
    const { blocks, bytes } = await client.evict(selector, { signal });
    printFields({ blocks, bytes }, flags);
  });
}
