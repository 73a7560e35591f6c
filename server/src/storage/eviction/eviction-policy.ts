/** The fields of a block that a policy uses. Wall times, milliseconds since 1970. */
export interface Evictable {
  /** Creation time. */
  readonly firstUsedMs: number;
  /** Time of the last read or write. */
  readonly lastUsedMs: number;
  /** A number that identifies the block, equal when the same block is cached again. */
  readonly fingerprint: number;
}

/** The order of eviction of a volume's blocks. */
export interface EvictionPolicy<Block extends Evictable> {
  readonly size: number;
  /** Adds a new block, or one found at the start; these are added in the order of their last use. */
  add(block: Block): void;
  /** Records a use of a block at its `lastUsedMs`. */
  recordUse(block: Block): void;
  /** Removes a block. Has no effect for an unknown block. */
  remove(block: Block): void;
  /** Yields all blocks in the order of eviction. Blocks may be added, removed and used during the iteration. */
  victims(): Iterable<Block>;
}
