import { type BlockRange, blockRanges, CacheError, type Geometry } from "@frontcache/proto";
import type { Fallback } from "./fallback/fallback.js";
import type { LocalReads } from "./local/local-reads.js";
import type { BlockSpan, BufferLanding } from "./members/block-landing.js";
import { type FailoverOptions, orderByAvailability, withFailover } from "./members/failover.js";
import type { BlockTransport, CallLimits, MemberAddress } from "./members/ports.js";
import type { ClientMetrics } from "./metrics.js";

/** Yields the spans of `[offset, offset + length)` in order, lazily, because a range may extend far past the object's end. */
export function* blockSpans(offset: number, length: number, geometry: Geometry): Generator<BlockSpan> {
  for (const range of blockRanges(offset, length, geometry)) yield spanOf(range);
}

function spanOf({ blockOffset, start, end }: BlockRange): BlockSpan {
  return { blockOffset, offset: blockOffset + start, length: end - start };
}

/** Selects the members to ask for a block. */
export interface BlockOwners {
  /** The block size that the members use now. */
  readonly geometry: Geometry;
  /** The addresses to ask for the block, in order of preference; at least one. */
  addressesOf(url: string, blockOffset: number): readonly MemberAddress[];
}

/** The collaborators of every read. */
export interface ReadWith {
  readonly blocks: BlockTransport;
  readonly owners: BlockOwners;
  readonly failover: FailoverOptions;
  /** Block files on this host; undefined: none are used. */
  readonly local: LocalReads | undefined;
  /** Undefined: reads are not measured. */
  readonly metrics: ClientMetrics | undefined;
  /** Asked if no member answers; undefined: the read fails. */
  readonly fallback?: Fallback | undefined;
}

/**
 * Reads one block's span to its last byte, from a file or a member. After an interruption, resumes after the last received byte.
 */
export function readBlock(landing: BufferLanding, using: ReadWith, limits: CallLimits): Promise<void> {
  return using.local === undefined ? readAtMember(landing, using, limits) : readLocally(landing, using.local, using, limits);
}

async function readLocally(landing: BufferLanding, local: LocalReads, using: ReadWith, limits: CallLimits): Promise<void> {
  if (await local.read(landing, using.owners.geometry, limits)) using.metrics?.part("file", landing.landedBytes);
  else await readAtMember(landing, using, limits);
}

function readAtMember(landing: BufferLanding, using: ReadWith, limits: CallLimits): Promise<void> {
  const { blocks, owners, failover, fallback } = using;
  let repeatable = true;
  const onFailure = (thrown: unknown): void => {
    const error = CacheError.from(thrown);
    if (error.code === "INTERNAL") repeatable = landing.takeBack();
    // If all bytes have arrived, the end of the response does not matter.
    else if (landing.complete) return;
    throw error;
  };
  const at = (address: MemberAddress): Promise<void> => blocks.read(address, landing, limits).catch(onFailure);
  const owned = owners.addressesOf(landing.pinned.url, landing.span.blockOffset);
  const addresses = orderByAvailability(owned, failover.breaker);
  const atMembers = (): Promise<void> => withFailover({ addresses, at, mayRepeat: () => repeatable }, limits, failover);
  return fallback === undefined ? atMembers() : fallback.read(landing, addresses, limits, atMembers);
}
