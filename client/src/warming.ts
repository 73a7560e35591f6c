import { CacheError, parseObjectUrl, parsePrefixUrl, type WarmProgress } from "@frontcache/proto";
import { Batch } from "./batch.js";
import { type FailoverOptions, inOrderOfReach, withFailover } from "./members/failover.js";
import type { MemberAddress, MemberCalls } from "./members/ports.js";
import type { RunningCall } from "./members/running-call.js";
import { checkWhole } from "./options.js";
import type { BlockOwners } from "./read-block.js";
import { NOTHING_WARMED, WarmCount, type WarmSummary } from "./warm-count.js";

/** How objects are warmed. */
export interface WarmOptions {
  /** Aborting it ends the warming, with CANCELLED; what is under way is fetched to its end, and kept. */
  readonly signal?: AbortSignal;
  /** The version of every object; absent: the current ones. */
  readonly version?: string;
  /** Blocks at a time, at all members together, 1 to 256. Default 16. */
  readonly concurrency?: number;
  /** Only look what is missing: `fetchedBytes` is what would be. */
  readonly dryRun?: boolean;
  /** Called whenever something moved on, with all counts so far. */
  readonly onProgress?: (progress: WarmSummary) => void;
}

/** What a warming works with. */
export interface WarmWith {
  readonly calls: Pick<MemberCalls, "warm">;
  readonly owners: Pick<BlockOwners, "addressesOf">;
  readonly failover: FailoverOptions;
}

const DEFAULT_CONCURRENCY = 16;
const MAX_CONCURRENCY = 256;

/** An object's URL, or the beginning of the URLs of all objects to warm. */
export type WarmTarget = string | { readonly prefix: string };

type Order = { readonly urls: readonly string[] } | { readonly prefix: string };

/** Cuts URLs into batches for one call each; a prefix is one of its own. Throws INVALID_ARGUMENT for what is neither. */
async function* inBatches(targets: Iterable<WarmTarget> | AsyncIterable<WarmTarget>): AsyncGenerator<Order, void> {
  const urls = new Batch<string>();
  for await (const target of targets) {
    if (typeof target !== "string") {
      yield { prefix: parsePrefixUrl(target.prefix).url };
      continue;
    }
    const full = urls.add(parseObjectUrl(target).url, Buffer.byteLength(target));
    if (full !== undefined) yield { urls: full };
  }
  const rest = urls.take();
  if (rest.length > 0) yield { urls: rest };
}

/**
 * Has members warm objects, batch by batch, each by one member that hands the blocks on to their owners; where that one is
 * lost, another one goes on. Rejects where nobody can; what concerns one object alone is among the failures.
 */
export async function warmObjects(
  targets: Iterable<WarmTarget> | AsyncIterable<WarmTarget>,
  options: WarmOptions,
  using: WarmWith,
  call: RunningCall,
): Promise<WarmSummary> {
  const { version = "", concurrency = DEFAULT_CONCURRENCY, dryRun = false, onProgress = () => {} } = options;
  checkWhole("concurrency", concurrency, MAX_CONCURRENCY);
  let summary = NOTHING_WARMED;
  for await (const batch of inBatches(targets)) {
    const urls = "urls" in batch ? batch.urls : undefined;
    const prefixes = "prefix" in batch ? [batch.prefix] : [];
    const count = new WarmCount(urls, summary);
    const tell = (progress: WarmProgress): void => {
      count.add(progress);
      onProgress(count.summary);
    };
    const at = async (address: MemberAddress): Promise<void> => {
      count.restart();
      const order = { urls: count.left, prefixes, version, concurrency, dryRun };
      if (order.urls.length + prefixes.length > 0) await using.calls.warm(address, order, tell, call);
    };
    const owned = using.owners.addressesOf(urls?.[0] ?? prefixes[0]!, 0);
    await withFailover({ addresses: inOrderOfReach(owned, using.failover.breaker), at }, call, using.failover);
    const [forgotten] = count.left;
    if (forgotten !== undefined) throw new CacheError("INTERNAL", `${forgotten}: the member does not say how its warming went`);
    summary = count.summary;
  }
  return summary;
}
