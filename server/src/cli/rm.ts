import type { CacheClient } from "@frontcache/client";
import { CacheError, parsePrefixUrl, urlForms } from "@frontcache/proto";
import type { Command } from "commander";
import { count } from "./amounts.js";
import { addClientOptions, asUsage, type ClientFlags, checkUrl, withClient } from "./client-options.js";
import { addJsonOption, type JsonFlags, printFields } from "./print.js";

interface RemoveFlags extends ClientFlags, JsonFlags {
  readonly prefix?: boolean;
  readonly dryRun?: boolean;
}

/** Failures that are printed one by one. */
const SHOWN_FAILURES = 10;

/** `frontcache rm`: deletes objects. */
export function addRemove(program: Command): void {
  const command = program
    .command("rm")
    .summary("delete objects")
    .description(
      "Deletes objects from their store and from the cache. The members must allow it (--writes). To remove objects only from the cache, use evict.",
    )
    .argument("<url...>", `${urlForms("bucket/key")}; with --prefix the prefix of a URL`)
    .option("--prefix", "every object whose URL begins with <url>")
    .option("--dry-run", "only count the objects that would be deleted")
    .addHelpText("after", "\nExample:\n  frontcache rm s3://datasets/events/2025- --prefix --dry-run");
  addJsonOption(addClientOptions(command)).action(remove);
}

async function remove(urls: readonly string[], flags: RemoveFlags): Promise<void> {
  const { prefix = false, dryRun = false, json = false } = flags;
  for (const url of urls) {
    if (!prefix) checkUrl(url);
    else asUsage(undefined, () => parsePrefixUrl(url));
  }
  await withClient(flags, async (client, signal) => {
    const named = prefix ? listed(client, urls, signal) : urls;
    if (dryRun) {
      let objects = 0;
      for await (const _ of named) objects++;
      printFields({ objects }, flags);
      return;
    }
    const { deleted, failures } = await client.deleteObjects(named, { signal });
    printFields({ deleted, failed: failures.length }, flags);
    if (failures.length === 0) return;
    if (!json) for (const { message } of failures.slice(0, SHOWN_FAILURES)) process.stderr.write(`${message}\n`);
    throw new CacheError(
      "FAILED_PRECONDITION",
      `${count(failures.length, "object")} could not be deleted: ${failures[0]!.message}`,
    );
  });
}

async function* listed(client: CacheClient, prefixes: readonly string[], signal: AbortSignal): AsyncGenerator<string, void> {
  for (const prefix of prefixes) {
    for await (const entry of client.list(prefix, { signal })) if ("url" in entry) yield entry.url;
  }
}
