import { setTimeout as wait } from "node:timers/promises";
import type { CacheClient } from "@frontcache/client";
import { CacheError } from "@frontcache/proto";
import type { Command } from "commander";
import { duration } from "../config/quantities.js";
import { accessOptions } from "./access-options.js";
import { addClientOptions, asUsage, type ClientFlags, withClient } from "./client-options.js";
import { clusterStatus, formatStatus, statusForPrograms } from "./cluster-status.js";
import { addJsonOption, type JsonFlags } from "./print.js";

interface StatusFlags extends ClientFlags, JsonFlags {
  readonly watch?: string | true;
}

/** To the terminal's upper left corner, and what stands below it away. */
const CLEAR = "\x1b[H\x1b[J";

/** `frontcache status`: a table of the cluster. */
export function addStatus(program: Command): void {
  const command = program
    .command("status")
    .summary("show the members and how they are")
    .description(
      "Shows the members: whether they are ready, their shares of the ring, what they hold and how much of what is read that is.",
    )
    .option("--watch [interval]", "show it again and again, every 2s or as often as said, until interrupted")
    .addHelpText(
      "after",
      "\nExamples:\n  frontcache status --watch 5s\n  frontcache status --json | jq '.members[] | select(.state != \"ready\")'",
    );
  addJsonOption(addClientOptions(command)).action(status);
}

async function status(flags: StatusFlags): Promise<void> {
  const { watch } = flags;
  const intervalMs = typeof watch === "string" ? asUsage("--watch", () => duration(100).parse(watch)) : 2_000;
  await withClient(flags, async (client, signal) => {
    await show(client, signal, flags);
    if (watch === undefined) return;
    // An interrupt is how a watch ends.
    while (await wait(intervalMs, true, { signal }).catch(() => false)) {
      await show(client, signal, flags).catch((error: unknown) => {
        if (!signal.aborted) throw error;
      });
    }
  });
}

async function show(client: CacheClient, signal: AbortSignal, flags: StatusFlags): Promise<void> {
  const { json, watch } = flags;
  const members = client.members();
  if (members.length === 0) {
    throw new CacheError("UNAVAILABLE", "the endpoint does not tell its members: name a member of this version by --endpoint");
  }
  const found = await clusterStatus(members, accessOptions(flags, process.env), signal);
  const text = json ? JSON.stringify(statusForPrograms(found)) : formatStatus(found);
  process.stdout.write(`${watch !== undefined && !json && process.stdout.isTTY ? CLEAR : ""}${text}\n`);
}
