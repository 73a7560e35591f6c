import type { ObjectInfo } from "@frontcache/proto";
import type { Slice } from "../runtime/slice.js";
import type { BlockId, BlockLease } from "./block.js";
import type { BlockReader } from "./block-reader.js";
import type { HeldBlock } from "./held-block.js";

/** A lease of a block file. */
export class StoreLease implements BlockLease {
  readonly id: BlockId;
  readonly info: ObjectInfo;
  #released = false;

  constructor(
    private readonly block: HeldBlock,
    private readonly reader: BlockReader,
  ) {
    this.id = block.id;
    this.info = block.info;
    block.acquire();
  }

  holds(segment: number): boolean {
    return this.block.segments.holds(segment);
  }

  read(start: number, end: number): Slice | Promise<Slice | undefined> | undefined {
    return this.#released ? undefined : this.reader.read(this.block, start, end);
  }

  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.block.release();
  }
}
