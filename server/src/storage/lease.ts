import type { ObjectInfo } from "@frontcache/proto";
import type { Slice } from "../runtime/slice.js";
import type { BlockId, BlockLease } from "./block.js";
import type { BlockReader } from "./block-reader.js";
import type { HeldBlock } from "./held-block.js";
import type { Loans } from "./loans.js";

/** A lease of a block file. */
export class StoreLease implements BlockLease {
  readonly id: BlockId;
  readonly info: ObjectInfo;
  /** Harmless when repeated. */
  readonly release: () => void;
  #released = false;

  constructor(
    private readonly block: HeldBlock,
    private readonly reader: BlockReader,
    loans: Loans,
  ) {
    this.id = block.id;
    this.info = block.info;
    block.acquire();
    this.release = loans.lend(() => {
      this.#released = true;
      block.release();
    });
  }

  holds(segment: number): boolean {
    return this.block.segments.holds(segment);
  }

  read(start: number, end: number): Slice | Promise<Slice | undefined> | undefined {
    return this.#released ? undefined : this.reader.read(this.block, start, end);
  }
}
