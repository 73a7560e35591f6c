import { CacheError, type Geometry } from "@frontcache/proto";
import type { LocalReads } from "./local/local-reads.js";
import type { BlockLanding } from "./members/block-landing.js";
import { type FailoverOptions, withFailover } from "./members/failover.js";
import type { CallLimits, MemberAddress, Transport } from "./members/transport.js";
import type { ClientMetrics } from "./metrics.js";

/** Who may be asked for a block. */
export interface BlockOwners {
  /** How objects are cut, as the members do it now. */
  readonly geometry: Geometry;
  /** The addresses to ask for the block, in order of preference; at least one. */
  addressesOf(url: string, blockOffset: number): readonly MemberAddress[];
}

/** What every read works with. */
export interface ReadWith {
  readonly transport: Transport;
  readonly owners: BlockOwners;
  readonly failover: FailoverOptions;
  /** Block files on this host; undefined: none are looked at. */
  readonly local: LocalReads | undefined;
  /** What reads are counted by; undefined: nobody asks. */
  readonly metrics: ClientMetrics | undefined;
}

/** Reads one part to its last byte from whoever has it; resumes behind the bytes that a broken answer left. */
export async function readBlock(
  landing: BlockLanding,
  { transport, owners, failover, local, metrics }: ReadWith,
  limits: CallLimits,
): Promise<void> {
  if (local !== undefined && (await local.read(landing, owners.geometry, limits))) {
    metrics?.part("file", landing.landedBytes);
    return;
  }
  let repeatable = true;
  const at = async (address: MemberAddress): Promise<void> => {
    try {
      await transport.read(address, landing.nextRequest(), landing, limits);
    } catch (thrown) {
      const error = CacheError.from(thrown);
      if (error.code === "INTERNAL") repeatable = landing.takeBack();
      // Where all bytes are there, it doesn't matter how the answer ended.
      else if (landing.complete) return;
      throw error;
    }
  };
  const addresses = owners.addressesOf(landing.url, landing.part.blockOffset);
  await withFailover({ addresses, at, mayRepeat: () => repeatable }, limits, failover);
}
