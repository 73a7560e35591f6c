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

/** Failures that are printed one by one. */
const SHOWN_FAILURES = 10;

/** `frontcache warm`: fetches objects into the cache before they are read. */
export function addWarm(program: Command): void {
  const command = program
    .command("warm")
    .summary("fetch objects into the cache")
    .description(
      "Fetches whole objects into the cache. The owner of each block fetches it once, with lower priority than reads. Cached blocks are not fetched again, so an interrupted command can be repeated.",
    )
    .argument(
      "<target...>",
      "s3://bucket/key; s3://bucket/prefix/ or s3://bucket/prefix*: all objects with the prefix; -: read targets from standard input, one per line",
    )
    .option("--concurrency <blocks>", "concurrent blocks over all members, 1 to 256 (default: 16)")
    .option("--object-version <version>", "only this version of the objects (S3: ETag; GCS: generation)")
    .option("--dry-run", "only report what would be fetched")
    .addHelpText(
      "after",
      `
Examples:
  frontcache warm s3://datasets/events/2026-11-01.parquet
  frontcache warm 's3://models/llama/*' --dry-run
  list-objects | frontcache warm - --concurrency 64`,
    );
  addJsonOption(addClientOptions(command)).action(warm);
}

async function warm(words: readonly string[], flags: WarmFlags): Promise<void> {
  const targets = words.map((word) => (word === "-" ? "-" : parseTarget(word)));
  const options = optionsOf(flags);
  const beganMs = performance.now();
  await withClient(flags, async (client, signal) => {
    const bar = openProgressBar(process.stderr);
    const onProgress = ({ cachedBytes, fetchedBytes, totalBytes, objects, failed }: WarmSummary): void =>
      bar.update(
        cachedBytes + fetchedBytes,
        totalBytes,
        `${count(objects, "object")}${failed === 0 ? "" : `, ${failed} failed`}`,
      );
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

/** Prints the result. Throws if some objects could not be fetched. */
function report(summary: WarmSummary, durationMs: number, { json = false, dryRun = false }: WarmFlags): void {
  const { objects, blocks, cachedBytes, fetchedBytes, failed, failures } = summary;
  if (json) {
    const reported = failures.map(({ url, error: { code, message } }) => ({ url, code, message }));
    const { totalBytes: _, ...counts } = summary;
    process.stdout.write(`${JSON.stringify({ ...counts, failures: reported, dryRun, durationMs: Math.round(durationMs) })}\n`);
  } else {
    const fetched = `${formatBytes(fetchedBytes)} ${dryRun ? "to fetch" : "fetched"}, ${formatBytes(cachedBytes)} already cached`;
    process.stdout.write(`${count(objects, "object")}, ${count(blocks, "block")}: ${fetched}, ${formatDuration(durationMs)}\n`);
    for (const { error } of failures.slice(0, SHOWN_FAILURES)) process.stderr.write(`${error.message}\n`);
    if (failed > SHOWN_FAILURES) process.stderr.write(`and ${failed - SHOWN_FAILURES} more: --json lists up to 1,000\n`);
  }
  if (objects === 0) throw new CacheError("NOT_FOUND", "no object found: check the prefix or the manifest");
  if (failed === 0) return;
  const first = failures.find(({ error }) => error.retryable) ?? failures[0]!;
  const code = failures.every(({ error }) => error.code === "NOT_FOUND") ? "NOT_FOUND" : first.error.code;
  throw new CacheError(code, `${failed} of ${count(objects, "object")} could not be fetched${hintFor(summary)}`);
}

/** Returns a hint about the failures: retry, use another target, or nothing. */
function hintFor({ failures, failed }: WarmSummary): string {
  if (failures.every(({ error }) => error.code === "NOT_FOUND"))
    return ": to fetch all objects with a prefix use s3://bucket/prefix*";
  const retryable = failures.filter(({ error }) => error.retryable).length;
  if (retryable === 0) return "";
  const some = retryable === failures.length && failures.length === failed ? "" : " (some failures are final)";
  return `: repeat the command, cached blocks are not fetched again${some}`;
}
