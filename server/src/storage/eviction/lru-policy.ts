import type { Evictable, EvictionPolicy } from "./eviction-policy.js";

/** Evicts the least recently used block. A scan of more than fits evicts everything else. */
export class LruPolicy<Block extends Evictable> implements EvictionPolicy<Block> {
  /** Blocks, the least recently used first. */
  readonly #order = new Set<Block>();
  /** The last one of the order. Its next use changes nothing, and each move within a Set costs more than the rest of a small read. */
  #latest: Block | undefined;

  get size(): number {
    return this.#order.size;
  }

  add(block: Block): void {
    this.#order.add(block);
    this.#latest = undefined;
  }

  recordUse(block: Block): void {
    if (block === this.#latest || !this.#order.delete(block)) return;
    this.#order.add(block);
    this.#latest = block;
  }

  remove(block: Block): void {
    this.#order.delete(block);
    if (block === this.#latest) this.#latest = undefined;
  }

  victims(): Iterable<Block> {
    return this.#order;
  }
}
