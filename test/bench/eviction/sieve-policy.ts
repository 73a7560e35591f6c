import type { Evictable, EvictionPolicy } from "@frontcache/server/testing";

/**
 * SIEVE (Zhang et al., NSDI 2024): a hand moves from the oldest block to the newest, again and again. It evicts the blocks that
 * were not used since it last passed them.
 */
export class SievePolicy<Block extends Evictable> implements EvictionPolicy<Block> {
  /** Whether each block was used again, the oldest block first. */
  readonly #blocks = new Map<Block, boolean>();
  #hand = this.#blocks.entries();

  readonly #oneUseMs: number;

  constructor(oneUseMs: number) {
    this.#oneUseMs = oneUseMs;
  }

  get size(): number {
    return this.#blocks.size;
  }

  add(block: Block): void {
    this.#blocks.set(block, false);
  }

  recordUse(block: Block): void {
    if (block.lastUsedMs - block.firstUsedMs >= this.#oneUseMs) this.#blocks.set(block, true);
  }

  remove(block: Block): void {
    this.#blocks.delete(block);
  }

  *victims(): Generator<Block> {
    while (this.#blocks.size > 0) {
      const next = this.#hand.next();
      if (next.done) this.#hand = this.#blocks.entries();
      else if (next.value[1]) this.#blocks.set(next.value[0], false);
      else yield next.value[0];
    }
  }
}
