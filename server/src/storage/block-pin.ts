import type { ObjectInfo } from "@frontcache/proto";
import type { Slice } from "../runtime/slice.js";
import type { BlockId, BlockPin } from "./block.js";
import type { BlockReader } from "./block-reader.js";
import type { CachedBlock } from "./cached-block.js";
import type { References } from "./references.js";

/** A pin of a block file. */
export class StorePin implements BlockPin {
  readonly id: BlockId;
  readonly info: ObjectInfo;
  /** Harmless when repeated. */
  readonly release: () => void;
  #released = false;

  constructor(
    private readonly block: CachedBlock,
    private readonly reader: BlockReader,
    references: References,
  ) {
    this.id = block.id;
    this.info = block.info;
    block.acquire();
    this.release = references.add(() => {
      this.#released = true;
      block.release();
    });
  }

  has(segment: number): boolean {
    return this.block.segments.has(segment);
  }

  read(start: number, end: number): Slice | Promise<Slice | undefined> | undefined {
    return this.#released ? undefined : this.reader.read(this.block, start, end);
  }
}
