import type { ObjectInfo } from "@frontcache/proto";
import type { CachedBlock } from "./cached-block.js";

/**
 * The cached blocks of one version of an object. Most objects have a single block, which needs no table of blocks: with many
 * small objects, these tables would be most of the index.
 */
export class CachedVersion {
  /** The metadata that all its blocks share. Set only by BlockIndex. */
  info: ObjectInfo;
  /** Time of the creation of its latest block, milliseconds since 1970. */
  createdAtMs = 0;
  /** Another cached version of the object. Set only by BlockIndex. */
  next: CachedVersion | undefined;
  #blocks: CachedBlock | Map<number, CachedBlock> | undefined;

  constructor(info: ObjectInfo, next: CachedVersion | undefined) {
    this.info = info;
    this.next = next;
  }

  get isEmpty(): boolean {
    return this.#blocks === undefined;
  }

  get(offset: number): CachedBlock | undefined {
    const blocks = this.#blocks;
    if (blocks instanceof Map) return blocks.get(offset);
    return blocks?.id.offset === offset ? blocks : undefined;
  }

  add(block: CachedBlock): void {
    const blocks = this.#blocks;
    if (blocks === undefined) this.#blocks = block;
    else if (blocks instanceof Map) blocks.set(block.id.offset, block);
    else {
      const pairs = [blocks, block].map((each): [number, CachedBlock] => [each.id.offset, each]);
      this.#blocks = new Map(pairs);
    }
    this.createdAtMs = Math.max(this.createdAtMs, block.createdAtMs);
  }

  remove({ id }: CachedBlock): void {
    const blocks = this.#blocks;
    if (blocks instanceof Map) blocks.delete(id.offset);
    if (!(blocks instanceof Map) || blocks.size === 0) this.#blocks = undefined;
  }

  *[Symbol.iterator](): Generator<CachedBlock> {
    const blocks = this.#blocks;
    if (blocks instanceof Map) yield* blocks.values();
    else if (blocks !== undefined) yield blocks;
  }
}
