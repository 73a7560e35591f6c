import type { Evictable, EvictionPolicy } from "./eviction-policy.js";

export interface SlruOptions {
  /** Uses within this time after a block was added count as one use. It must be longer than a client takes to read a block. */
  readonly oneUseMs: number;
  /** Maximum share of protected blocks, 0 to 1. */
  readonly protectedShare: number;
}

/** The time of addition of a block that has earned protection. */
const PROVED = -Infinity;

/**
 * Segmented LRU with a memory. A block that is used again after `oneUseMs` becomes protected. The least recently used of
 * the other blocks is evicted first. Thus blocks that are read only once, even many, never displace protected ones. If too many
 * are protected, the least recently used of them lose their protection.
 *
 * It remembers as many evicted blocks as it has blocks, by fingerprint. If such a block is added again, this counts
 * as another use. Otherwise a block that is used too rarely to outlive new blocks could never become protected,
 * and old blocks would stay when demand changes.
 */
export class SlruPolicy<Block extends Evictable> implements EvictionPolicy<Block> {
  readonly #options: SlruOptions;

  /** Blocks that are not protected, with the time of their addition; the least recently used first. */
  readonly #probation = new Map<Block, number>();
  /** Protected blocks, the least recently used first. */
  readonly #protected = new Set<Block>();
  /** The last block of each order. Its next use changes nothing, and each move within a Map costs more than the rest of a small read. */
  #latestInProbation: Block | undefined;
  #latestProtected: Block | undefined;
  /** Fingerprints of evicted blocks, with the time of their addition, in the order of eviction. */
  readonly #remembered = new Map<number, number>();

  constructor(options: SlruOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#probation.size + this.#protected.size;
  }

  /** The two times of a file found at the start determine whether its block was protected. */
  add(block: Block): void {
    const knownSinceMs = this.#remembered.get(block.fingerprint) ?? block.firstUsedMs;
    this.#remembered.delete(block.fingerprint);
    this.#enter(block, knownSinceMs);
  }

  recordUse(block: Block): void {
    if (
      block === this.#latestProtected ||
      (block === this.#latestInProbation && !this.#isProved(block, this.#probation.get(block)!))
    )
      return;
    const knownSinceMs = this.#take(block);
    if (knownSinceMs !== undefined) this.#enter(block, knownSinceMs);
  }

  remove(block: Block): void {
    const knownSinceMs = this.#take(block);
    if (knownSinceMs === undefined) return;
    this.#remembered.set(block.fingerprint, knownSinceMs);
    for (const fingerprint of this.#remembered.keys()) {
      if (this.#remembered.size <= this.size) return;
      this.#remembered.delete(fingerprint);
    }
  }

  *victims(): Generator<Block> {
    this.#demote();
    yield* this.#probation.keys();
    yield* this.#protected;
  }

  /** Removes a block; returns undefined if it is unknown. */
  #take(block: Block): number | undefined {
    if (block === this.#latestProtected) this.#latestProtected = undefined;
    if (block === this.#latestInProbation) this.#latestInProbation = undefined;
    if (this.#protected.delete(block)) return PROVED;
    const knownSinceMs = this.#probation.get(block);
    this.#probation.delete(block);
    return knownSinceMs;
  }

  #enter(block: Block, knownSinceMs: number): void {
    if (this.#isProved(block, knownSinceMs)) {
      this.#protected.add(block);
      this.#latestProtected = block;
    } else {
      this.#probation.set(block, knownSinceMs);
      this.#latestInProbation = block;
    }
  }

  /** Whether the last use of a block earns protection. */
  #isProved({ lastUsedMs }: Block, knownSinceMs: number): boolean {
    return lastUsedMs - knownSinceMs >= this.#options.oneUseMs;
  }

  /** Called only for evictions: at the start, the first added blocks would exceed their share of the few blocks. */
  #demote(): void {
    const most = this.#options.protectedShare * this.size;
    for (const block of this.#protected) {
      if (this.#protected.size <= most) return;
      this.#take(block);
      this.#probation.set(block, PROVED);
      this.#latestInProbation = undefined;
    }
  }
}
