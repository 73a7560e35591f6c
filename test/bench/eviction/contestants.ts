import { type Evictable, type EvictionPolicy, evictionPolicy, LruPolicy } from "@frontcache/server/testing";
import { S3FifoPolicy } from "./s3-fifo-policy.js";
import { SievePolicy } from "./sieve-policy.js";

/** A block of the simulated cache. */
export class SimulatedBlock implements Evictable {
  lastUsedMs: number;

  readonly fingerprint: number;
  readonly firstUsedMs: number;

  constructor(fingerprint: number, firstUsedMs: number) {
    this.fingerprint = fingerprint;
    this.firstUsedMs = firstUsedMs;
    this.lastUsedMs = firstUsedMs;
  }
}

/** Evicts the oldest block, however often it was used: the baseline. */
class FifoPolicy extends LruPolicy<SimulatedBlock> {
  override recordUse(): void {}
}

/**
 * Uses within this time after a block was added count as one, as in the member's own policy: one sequential read uses a block
 * many times.
 */
const ONE_USE_MS = 30_000;

/** The member's policies and others, by name. */
export const contestants: Readonly<Record<string, () => EvictionPolicy<SimulatedBlock>>> = {
  fifo: () => new FifoPolicy(),
  lru: () => evictionPolicy("lru"),
  sieve: () => new SievePolicy(ONE_USE_MS),
  "s3-fifo": () => new S3FifoPolicy({ oneUseMs: ONE_USE_MS, smallShare: 0.1 }),
  slru: () => evictionPolicy("slru"),
};
