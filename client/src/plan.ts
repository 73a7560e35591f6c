import { type BlockRange, blockRanges, type Geometry } from "@frontcache/proto";

/** The part of a range that lies in one block; one request reads it. */
export interface BlockSpan {
  /** Where its block begins in the object; the ring is asked with it. */
  readonly blockOffset: number;
  /** First byte, counted from the object's beginning. */
  readonly offset: number;
  /** Bytes, at least 1. */
  readonly length: number;
}

/** The parts of `[offset, offset + length)`, in order; lazily, for a range may reach far past the object's end. */
export function* blockSpans(offset: number, length: number, geometry: Geometry): Generator<BlockSpan> {
  for (const range of blockRanges(offset, length, geometry)) yield partOf(range);
}

function partOf({ blockOffset, start, end }: BlockRange): BlockSpan {
  return { blockOffset, offset: blockOffset + start, length: end - start };
}
