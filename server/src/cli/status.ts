import { setTimeout as wait } from "node:timers/promises";
import type { CacheClient } from "@frontcache/client";
import { tokenSource } from "@frontcache/client/members";
import type { Command } from "commander";
import { duration } from "../config/quantities.js";
import { accessOptions } from "./access-options.js";
import { addClientOptions, asUsage, type ClientFlags, withClient } from "./client-options.js";
import { clusterStatus, formatStatus } from "./cluster-status.js";
import { addJsonOption, type JsonFlags } from "./print.js";

interface StatusFlags extends ClientFlags, JsonFlags {
  readonly watch?: string | true;
}

/** Moves to the upper left corner of the terminal and clears the rest. */
const CLEAR = "\x1b[H\x1b[J";

/** `frontcache status`: shows the status of the cluster. */
export function addStatus(program: Command): void {
  const command = program
    .command("status")
    .summary("show the status of the members")
    .description(
      "Shows the members: state, share of the ring, cached bytes and hit ratio. --json prints the /status of a member.",
    )
    .option("--watch [interval]", "repeat every 2s, or at the interval, until interrupted")
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
    // An interrupt ends the watch.
    while (await wait(intervalMs, true, { signal }).catch(() => false)) {
      await show(client, signal, flags).catch((error: unknown) => {
        if (!signal.aborted) throw error;
      });
    }
  });
}

async function show(client: CacheClient, signal: AbortSignal, flags: StatusFlags): Promise<void> {
  const { json, watch } = flags;
  const access = accessOptions(flags, process.env);
  const found = await clusterStatus(client.members(), { tls: access.tls, token: tokenSource(access)?.() }, signal);
  const text = json ? JSON.stringify(found) : formatStatus(found, process.stdout.columns ?? Number.POSITIVE_INFINITY);
  process.stdout.write(`${watch !== undefined && !json && process.stdout.isTTY ? CLEAR : ""}${text}\n`);
}
