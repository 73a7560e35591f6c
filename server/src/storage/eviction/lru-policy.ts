import type { Evictable, EvictionPolicy } from "./eviction-policy.js";

/** Evicts the least recently used block. A scan of more than fits evicts everything else. */
export class LruPolicy<Block extends Evictable> implements EvictionPolicy<Block> {
  /** Blocks, the least recently used first. */
  readonly #order = new Set<Block>();

  get size(): number {
    return this.#order.size;
  }

  add(block: Block): void {
    this.#order.add(block);
  }

  recordUse(block: Block): void {
    if (this.#order.delete(block)) this.#order.add(block);
  }

  remove(block: Block): void {
    this.#order.delete(block);
  }

  victims(): Iterable<Block> {
    return this.#order;
  }
}
