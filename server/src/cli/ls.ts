import { once } from "node:events";
import type { ListedObject, ListedPrefix } from "@frontcache/client";
import { parsePrefixUrl, urlForms } from "@frontcache/proto";
import type { Command } from "commander";
import { formatBytes } from "./amounts.js";
import { addClientOptions, asUsage, type ClientFlags, withClient } from "./client-options.js";
import { addJsonOption, type JsonFlags } from "./print.js";

interface ListFlags extends ClientFlags, JsonFlags {
  readonly recursive?: boolean;
}

/** `frontcache ls`: lists the objects of a bucket. */
export function addList(program: Command): void {
  const command = program
    .command("ls")
    .summary("list objects")
    .description("Lists the objects of a bucket whose keys begin with a prefix, as the object store knows them.")
    .argument("<url>", urlForms("bucket/prefix"))
    .option("--recursive", "also objects with further slashes after the prefix")
    .addHelpText("after", "\nExamples:\n  frontcache ls s3://datasets/events/\n  frontcache ls s3://datasets --recursive --json");
  addJsonOption(addClientOptions(command)).action(list);
}

async function list(url: string, { recursive = false, json = false, ...flags }: ListFlags): Promise<void> {
  asUsage(undefined, () => parsePrefixUrl(url));
  await withClient(flags, async (client, signal) => {
    let listed = 0;
    if (json) await print('{"entries":[');
    for await (const entry of client.list(url, { delimiter: recursive ? undefined : "/", signal })) {
      await print(json ? `${listed === 0 ? "" : ","}\n${JSON.stringify(entry)}` : `${lineOf(entry)}\n`);
      listed++;
    }
    if (json) await print(`${listed === 0 ? "" : "\n"}]}\n`);
  });
}

function lineOf(entry: ListedObject | ListedPrefix): string {
  const isPrefix = "prefix" in entry;
  const modified =
    isPrefix || Number.isNaN(entry.lastModifiedMs) ? "" : new Date(entry.lastModifiedMs).toISOString().slice(0, 19);
  const size = isPrefix ? "" : formatBytes(entry.size);
  // Keys may contain control characters, which terminals would obey.
  const url = (isPrefix ? entry.prefix : entry.url).replace(/\p{Cc}/gu, "?");
  return `${modified.padEnd(19)}  ${size.padStart(10)}  ${url}`;
}

/** Waits for the reader of a pipe. */
async function print(text: string): Promise<void> {
  if (!process.stdout.write(text)) await once(process.stdout, "drain");
}
