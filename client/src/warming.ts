import { CacheError, parseObjectUrl, parsePrefixUrl, type WarmProgress } from "@frontcache/proto";
import { checkObject, checkOptions } from "./argument-types.js";
import { Batch } from "./batch.js";
import { type FailoverOptions, orderByAvailability, withFailover } from "./members/failover.js";
import type { MemberAddress, MemberCalls } from "./members/ports.js";
import type { RunningCall } from "./members/running-call.js";
import { checkWhole, unquoted } from "./options.js";
import type { BlockOwners } from "./read-block.js";
import { NOTHING_WARMED, WarmCount, type WarmSummary } from "./warm-count.js";

/** Options of `warm`. */
export interface WarmOptions {
  /** Aborts the warming with CANCELLED. Running fetches complete and are cached. */
  readonly signal?: AbortSignal | undefined;
  /** The version of every object; absent: the current ones. */
  readonly version?: string | undefined;
  /** Concurrent blocks over all members, 1 to 256. Default 16. */
  readonly concurrency?: number | undefined;
  /** Only determine what is missing: `fetchedBytes` counts the bytes that a warming would fetch. */
  readonly dryRun?: boolean | undefined;
  /** Called with the totals after each progress report. */
  readonly onProgress?: ((progress: WarmSummary) => void) | undefined;
}

/** The collaborators of a warming. */
export interface WarmWith {
  readonly calls: Pick<MemberCalls, "warm">;
  readonly owners: Pick<BlockOwners, "addressesOf">;
  readonly failover: FailoverOptions;
}

const WARM_OPTIONS: ReadonlySet<string> = new Set<keyof WarmOptions>([
  "signal",
  "version",
  "concurrency",
  "dryRun",
  "onProgress",
]);
const DEFAULT_CONCURRENCY = 16;
const MAX_CONCURRENCY = 256;

/** The URL of an object, or a prefix of the URLs of all objects to warm. */
export type WarmTarget = string | { readonly prefix: string };

type Order = { readonly urls: readonly string[] } | { readonly prefix: string };

/** Splits URLs into batches of one call each; each prefix gets its own call. Throws INVALID_ARGUMENT for an invalid target. */
async function* inBatches(targets: Iterable<WarmTarget> | AsyncIterable<WarmTarget>): AsyncGenerator<Order, void> {
  const urls = new Batch<string>();
  for await (const target of targets) {
    if (typeof target !== "string") {
      yield { prefix: parsePrefixUrl(checkObject("a target", target).prefix).url };
      continue;
    }
    const full = urls.add(parseObjectUrl(target).url, Buffer.byteLength(target));
    if (full !== undefined) yield { urls: full };
  }
  const rest = urls.take();
  if (rest.length > 0) yield { urls: rest };
}

/**
 * Warms objects batch by batch. One member coordinates a batch and sends the blocks to their owners; if that member is lost,
 * another one resumes. Rejects if no member can be reached; errors of single objects are listed in `failures`.
 */
export async function warmObjects(
  targets: Iterable<WarmTarget> | AsyncIterable<WarmTarget>,
  options: WarmOptions,
  using: WarmWith,
  call: RunningCall,
): Promise<WarmSummary> {
  checkOptions(options, WARM_OPTIONS);
  const { version = "", concurrency = DEFAULT_CONCURRENCY, dryRun = false, onProgress = () => {} } = options;
  checkWhole("concurrency", concurrency, MAX_CONCURRENCY);
  let summary = NOTHING_WARMED;
  for await (const batch of inBatches(targets)) {
    const urls = "urls" in batch ? batch.urls : undefined;
    const prefixes = "prefix" in batch ? [batch.prefix] : [];
    const count = new WarmCount(urls, summary);
    const report = (progress: WarmProgress): void => {
      count.add(progress);
      onProgress(count.summary);
    };
    const at = async (address: MemberAddress): Promise<void> => {
      count.restart();
      const order = { urls: count.left, prefixes, version: unquoted(version), concurrency, dryRun };
      if (order.urls.length + prefixes.length > 0) await using.calls.warm(address, order, report, call);
    };
    const owned = using.owners.addressesOf(urls?.[0] ?? prefixes[0]!, 0);
    await withFailover({ addresses: orderByAvailability(owned, using.failover.breaker), at }, call, using.failover);
    const [unfinished] = count.left;
    if (unfinished !== undefined)
      throw new CacheError("INTERNAL", `${unfinished}: the member sent no final result for this object`);
    summary = count.summary;
  }
  return summary;
}
