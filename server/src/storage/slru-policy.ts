import type { EvictionPolicy, Used } from "./eviction-policy.js";

export interface SlruOptions {
  /** How long after a block came its uses still count as the first one. */
  readonly oneUseMs: number;
  /** Share of the blocks, 0 to 1, that is protected at most. */
  readonly protectedShare: number;
}

/**
 * Segmented LRU: a block that was used again, later than its first reader takes to get through it, is protected. It gives up
 * the least recently used of the others first, so that what is read only once, however much it is, leaves the protected
 * ones alone. When too many are protected, the least recently used of them becomes one of the others, as their latest.
 */
export class SlruPolicy<Block extends Used> implements EvictionPolicy<Block> {
  /** Both: the least recently used first. */
  readonly #probation = new Set<Block>();
  readonly #protected = new Set<Block>();

  constructor(private readonly options: SlruOptions) {}

  get size(): number {
    return this.#probation.size + this.#protected.size;
  }

  /** A block found at the start was protected if it was used late enough: its file tells both times. */
  add(block: Block): void {
    this.#enter(block);
  }

  touch(block: Block): void {
    if (this.#probation.delete(block) || this.#protected.delete(block)) this.#enter(block);
  }

  remove(block: Block): void {
    if (!this.#probation.delete(block)) this.#protected.delete(block);
  }

  *victims(): Generator<Block> {
    yield* this.#probation;
    yield* this.#protected;
  }

  #enter(block: Block): void {
    const { oneUseMs, protectedShare } = this.options;
    if (block.lastUsedMs - block.firstUsedMs < oneUseMs) {
      this.#probation.add(block);
      return;
    }
    this.#protected.add(block);
    if (this.#protected.size <= protectedShare * this.size) return;
    const [oldest] = this.#protected;
    this.#protected.delete(oldest!);
    this.#probation.add(oldest!);
  }
}
