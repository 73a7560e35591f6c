import type { WarmSummary, WarmTarget } from "@frontcache/client";
import { CacheError } from "@frontcache/proto";
import type { Command } from "commander";
import { whole } from "../config/quantities.js";
import { count, formatBytes, formatDuration } from "./amounts.js";
import { addClientOptions, asUsage, type ClientFlags, withClient } from "./client-options.js";
import { addJsonOption, type JsonFlags } from "./print.js";
import { openProgressBar } from "./progress-bar.js";
import { parseTarget, readManifest } from "./warm-targets.js";

interface WarmFlags extends ClientFlags, JsonFlags {
  readonly concurrency?: string;
  readonly objectVersion?: string;
  readonly dryRun?: boolean;
}

/** Failures that are shown one by one. */
const SHOWN_FAILURES = 10;

/** `frontcache warm`: has objects fetched before they are read. */
export function addWarm(program: Command): void {
  const command = program
    .command("warm")
    .summary("fetch objects before they are read")
    .description(
      "Has whole objects fetched into the cache before they are read, each block once and by its owner, behind all reads. What is held already is not fetched: an interrupted warming is simply begun again.",
    )
    .argument(
      "<target...>",
      "s3://bucket/key; s3://bucket/prefix/ or s3://bucket/prefix*: all objects under it; -: a manifest on standard input, one target a line",
    )
    .option("--concurrency <blocks>", "blocks fetched at a time, at all members together, 1 to 256 (default: 16)")
    .option("--object-version <version>", "only this version of the objects (S3: the ETag; GCS: the generation)")
    .option("--dry-run", "only look what would be fetched")
    .addHelpText(
      "after",
      `
Examples:
  frontcache warm s3://datasets/events/2026-11-01.parquet
  frontcache warm 's3://models/llama/*' --dry-run
  find-what-to-read | frontcache warm - --concurrency 64`,
    );
  addJsonOption(addClientOptions(command)).action(warm);
}

async function warm(words: readonly string[], flags: WarmFlags): Promise<void> {
  const targets = words.map((word) => (word === "-" ? "-" : parseTarget(word)));
  const options = optionsOf(flags);
  const beganMs = performance.now();
  await withClient(flags, async (client, signal) => {
    const bar = openProgressBar(process.stderr);
    const onProgress = ({ heldBytes, fetchedBytes, totalBytes, objects, failed }: WarmSummary): void =>
      bar.update(heldBytes + fetchedBytes, totalBytes, `${count(objects, "object")}${failed === 0 ? "" : `, ${failed} failed`}`);
    const summary = await client.warm(all(targets, signal), { ...options, signal, onProgress }).finally(() => bar.end());
    report(summary, performance.now() - beganMs, flags);
  });
}

async function* all(targets: readonly (WarmTarget | "-")[], signal: AbortSignal): AsyncGenerator<WarmTarget, void> {
  for (const target of targets) {
    if (target === "-") yield* readManifest(process.stdin, signal);
    else yield target;
  }
}

function optionsOf({ concurrency, objectVersion, dryRun = false }: WarmFlags) {
  const blocks =
    concurrency === undefined ? {} : { concurrency: asUsage("--concurrency", () => whole(1, 256).parse(concurrency)) };
  return { ...blocks, ...(objectVersion === undefined ? {} : { version: objectVersion }), dryRun };
}

/** Prints what was done; throws where not all of it could be. */
function report(summary: WarmSummary, durationMs: number, { json = false, dryRun = false }: WarmFlags): void {
  const { objects, blocks, heldBytes, fetchedBytes, failed, failures } = summary;
  if (json) {
    const told = failures.map(({ url, error: { code, message } }) => ({ url, code, message }));
    const { totalBytes: _, ...counts } = summary;
    process.stdout.write(`${JSON.stringify({ ...counts, failures: told, dryRun, durationMs: Math.round(durationMs) })}\n`);
  } else {
    const fetched = `${formatBytes(fetchedBytes)} ${dryRun ? "to fetch" : "fetched"}, ${formatBytes(heldBytes)} held before`;
    process.stdout.write(`${count(objects, "object")}, ${count(blocks, "block")}: ${fetched}, ${formatDuration(durationMs)}\n`);
    for (const { error } of failures.slice(0, SHOWN_FAILURES)) process.stderr.write(`${error.message}\n`);
    if (failed > SHOWN_FAILURES) process.stderr.write(`and ${failed - SHOWN_FAILURES} more: --json names up to a thousand\n`);
  }
  if (objects === 0)
    throw new CacheError("NOT_FOUND", "no object is named so: look at the prefix, or whether the manifest is empty");
  if (failed === 0) return;
  const all = failures.every(({ error }) => error.code === "NOT_FOUND");
  const hint = all
    ? "to warm all that begin with it write s3://bucket/prefix*"
    : "run it again, what is held is not fetched again";
  throw new CacheError(
    all ? "NOT_FOUND" : failures[0]!.error.code,
    `${failed} of ${count(objects, "object")} could not be warmed: ${hint}`,
  );
}
