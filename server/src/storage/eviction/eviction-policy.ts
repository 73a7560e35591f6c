/** All that a policy knows of a block. Wall times, milliseconds since 1970. */
export interface Evictable {
  /** When it came. */
  readonly firstUsedMs: number;
  /** When it was last read or written. */
  readonly lastUsedMs: number;
  /** A number that stands for the block's identity: the same when the same block comes again. */
  readonly fingerprint: number;
}

/** The order in which the blocks of a volume are given up. */
export interface EvictionPolicy<Block extends Evictable> {
  readonly size: number;
  /** A new block, or one found at the start: those are entered in the order of their last use. */
  add(block: Block): void;
  /** The block was used; its `lastUsedMs` says when. */
  recordUse(block: Block): void;
  /** The block is gone. Harmless for one that it does not have. */
  remove(block: Block): void;
  /** All blocks, the first to give up first. Blocks may come, go and be used while somebody iterates. */
  victims(): Iterable<Block>;
}
