import type { Evictable, EvictionPolicy } from "./eviction-policy.js";

export interface SlruOptions {
  /** How long the uses of a block after it came still count as one: longer than a reader takes to get through it. */
  readonly oneUseMs: number;
  /** Share of the blocks, 0 to 1, that is protected at most. */
  readonly protectedShare: number;
}

/** Since when a block is known that has proved worth keeping. */
const PROVED = -Infinity;

/**
 * Segmented LRU with a memory. A block that is used again later than one use lasts is protected; the least recently used of
 * the others goes first. So what is read only once, however much it is, leaves the protected blocks alone. When too many
 * are protected, the least recently used of them become others.
 *
 * It remembers as many blocks as it has, by number, of those that it gave up last: one of them that comes again has been
 * used again. Without that a block that is asked for too rarely to outlive the newcomers could never become protected,
 * and when the blocks in demand change the old ones would stay.
 */
export class SlruPolicy<Block extends Evictable> implements EvictionPolicy<Block> {
  readonly #options: SlruOptions;

  /** Blocks that are not protected, with the time since when they are known; the least recently used first. */
  readonly #probation = new Map<Block, number>();
  /** The least recently used first. */
  readonly #protected = new Set<Block>();
  /** Fingerprints of blocks given up, with the time since when they were known; the first that went first. */
  readonly #remembered = new Map<number, number>();

  constructor(options: SlruOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#probation.size + this.#protected.size;
  }

  /** Of a block found at the start, the file tells both times, and by them whether it was protected. */
  add(block: Block): void {
    const knownSinceMs = this.#remembered.get(block.fingerprint) ?? block.firstUsedMs;
    this.#remembered.delete(block.fingerprint);
    this.#enter(block, knownSinceMs);
  }

  recordUse(block: Block): void {
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

  /** Takes a block out; undefined where it is not there. */
  #take(block: Block): number | undefined {
    if (this.#protected.delete(block)) return PROVED;
    const knownSinceMs = this.#probation.get(block);
    this.#probation.delete(block);
    return knownSinceMs;
  }

  #enter(block: Block, knownSinceMs: number): void {
    if (block.lastUsedMs - knownSinceMs < this.#options.oneUseMs) this.#probation.set(block, knownSinceMs);
    else this.#protected.add(block);
  }

  /** Only when blocks have to go: at the start the first ones to enter would be too many of the few that there are. */
  #demote(): void {
    const most = this.#options.protectedShare * this.size;
    for (const block of this.#protected) {
      if (this.#protected.size <= most) return;
      this.#protected.delete(block);
      this.#probation.set(block, PROVED);
    }
  }
}
