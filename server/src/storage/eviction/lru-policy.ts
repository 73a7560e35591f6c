import type { Evictable, EvictionPolicy } from "./eviction-policy.js";

/** Gives up the least recently used block. One read of more than fits takes everything else with it. */
export class LruPolicy<Block extends Evictable> implements EvictionPolicy<Block> {
  /** The least recently used first. */
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
