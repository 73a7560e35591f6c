import type { Evictable, EvictionPolicy } from "@frontcache/server/testing";

export interface S3FifoOptions {
  readonly oneUseMs: number;
  /** Share of the blocks, 0 to 1, in the queue of new blocks. */
  readonly smallShare: number;
}

const MOST_USES = 3;

/**
 * S3-FIFO (Yang et al., SOSP 2023): new blocks enter a small queue. A block that is used there moves to the main queue; any
 * other is evicted and remembered, and enters the main queue when it is added again. In the main queue each use saves a block
 * from one eviction.
 */
export class S3FifoPolicy<Block extends Evictable> implements EvictionPolicy<Block> {
  readonly #small = new Set<Block>();
  readonly #main = new Set<Block>();
  readonly #remembered = new Set<number>();
  readonly #uses = new Map<Block, { count: number; lastMs: number }>();

  readonly #options: S3FifoOptions;

  constructor(options: S3FifoOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#small.size + this.#main.size;
  }

  add(block: Block): void {
    this.#uses.set(block, { count: 0, lastMs: block.firstUsedMs });
    if (this.#remembered.delete(block.fingerprint)) this.#main.add(block);
    else this.#small.add(block);
  }

  recordUse(block: Block): void {
    const uses = this.#uses.get(block);
    if (uses === undefined || block.lastUsedMs - uses.lastMs < this.#options.oneUseMs) return;
    uses.lastMs = block.lastUsedMs;
    uses.count = Math.min(MOST_USES, uses.count + 1);
  }

  remove(block: Block): void {
    this.#uses.delete(block);
    if (!this.#small.delete(block)) {
      this.#main.delete(block);
      return;
    }
    this.#remembered.add(block.fingerprint);
    for (const fingerprint of this.#remembered) {
      if (this.#remembered.size <= this.size) return;
      this.#remembered.delete(fingerprint);
    }
  }

  *victims(): Generator<Block> {
    while (this.size > 0) {
      const isSmall = this.#main.size === 0 || this.#small.size > this.#options.smallShare * this.size;
      const [oldest] = isSmall ? this.#small : this.#main;
      const uses = this.#uses.get(oldest!)!;
      if (uses.count === 0) {
        yield oldest!;
        continue;
      }
      uses.count = isSmall ? 0 : uses.count - 1;
      (isSmall ? this.#small : this.#main).delete(oldest!);
      this.#main.add(oldest!);
    }
  }
}
