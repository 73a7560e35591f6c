import { CacheError, parseObjectUrl, type WarmProgress } from "@frontcache/proto";
import { type FailoverOptions, withFailover } from "./failover.js";
import { checkWhole } from "./options.js";
import type { BlockOwners } from "./read-part.js";
import type { RunningCall } from "./running-call.js";
import type { MemberAddress, Transport } from "./transport.js";
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
  readonly transport: Pick<Transport, "warm">;
  readonly owners: Pick<BlockOwners, "addressesOf">;
  readonly failover: FailoverOptions;
}

/** Objects that one call asks for: their URLs, of up to 1,024 bytes each, stay far below the 4 MiB that a member receives. */
const BATCH = 1_000;
const DEFAULT_CONCURRENCY = 16;
const MAX_CONCURRENCY = 256;

/** Cuts URLs into batches for one call each. Throws INVALID_ARGUMENT for what is no URL. */
async function* inBatches(urls: Iterable<string> | AsyncIterable<string>): AsyncGenerator<string[], void> {
  let batch: string[] = [];
  for await (const url of urls) {
    batch.push(parseObjectUrl(url).url);
    if (batch.length < BATCH) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}

/**
 * Has members warm objects, batch by batch, each by one member that hands the blocks on to their owners; where that one is
 * lost, another one goes on. Rejects where nobody can; what concerns one object alone is among the failures.
 */
export async function warmObjects(
  urls: Iterable<string> | AsyncIterable<string>,
  options: WarmOptions,
  using: WarmWith,
  call: RunningCall,
): Promise<WarmSummary> {
  const { version = "", concurrency = DEFAULT_CONCURRENCY, dryRun = false, onProgress = () => {} } = options;
  checkWhole("concurrency", concurrency, MAX_CONCURRENCY);
  let summary = NOTHING_WARMED;
  for await (const batch of inBatches(urls)) {
    const count = new WarmCount(batch, summary);
    const tell = (progress: WarmProgress): void => {
      count.add(progress);
      onProgress(count.summary);
    };
    const at = async (address: MemberAddress): Promise<void> => {
      count.restart();
      const order = { urls: count.left, version, concurrency, dryRun };
      if (order.urls.length > 0) await using.transport.warm(address, order, tell, call);
    };
    await withFailover({ addresses: using.owners.addressesOf(batch[0]!, 0), at }, call, using.failover);
    const [forgotten] = count.left;
    if (forgotten !== undefined) throw new CacheError("INTERNAL", `${forgotten}: the member does not say how its warming went`);
    summary = count.summary;
  }
  return summary;
}
