/** When a block was used: all that a policy goes by. Wall time, milliseconds since 1970. */
export interface Used {
  /** When it came. */
  readonly firstUsedMs: number;
  /** When it was last read or written. */
  readonly lastUsedMs: number;
}

/** The order in which the blocks of a volume are given up. */
export interface EvictionPolicy<Block extends Used> {
  readonly size: number;
  /** A new block, or one found at the start: those are entered in the order of their last use. */
  add(block: Block): void;
  /** A block that it has was used; `lastUsedMs` says when. */
  touch(block: Block): void;
  /** Harmless for a block that it does not have. */
  remove(block: Block): void;
  /**
   * All blocks, the first to give up first. What comes, goes or is used while somebody iterates is in its new place then.
   */
  victims(): Iterable<Block>;
}
