import { CacheError } from "./errors.js";

const MiB = 1 << 20;

/** Sizes of blocks (ownership, one file each) and of their segments (presence, checksums, fetching). */
export interface Geometry {
  /** Bytes of a block; a multiple of `segmentBytes`. */
  readonly blockBytes: number;
  /** Bytes of a segment. */
  readonly segmentBytes: number;
}

export const DEFAULT_GEOMETRY: Geometry = { blockBytes: 16 * MiB, segmentBytes: MiB };

/** The slice of one block that a range touches. */
export interface BlockRange {
  /** Start of the block in the object: a multiple of the block size. */
  readonly blockOffset: number;
  /** First requested byte, counted from the block's beginning. */
  readonly start: number;
  /** One past the last requested byte, counted from the block's beginning. */
  readonly end: number;
}

/** Returns the start of the block that contains an object's byte. */
export function blockOffsetOf(offset: number, geometry: Geometry): number {
  return offset - (offset % geometry.blockBytes);
}

/**
 * Returns the length of the block at `blockOffset`: the block size, or less for the object's last block, or 0 past the object's
 * end.
 */
export function blockLength(blockOffset: number, objectSize: number, geometry: Geometry): number {
  return Math.max(0, Math.min(geometry.blockBytes, objectSize - blockOffset));
}

/** Yields the blocks that `[offset, offset + length)` touches, in order. Lazy, because a range may be huge. */
export function* blockRanges(offset: number, length: number, geometry: Geometry): Generator<BlockRange> {
  const end = offset + length;
  for (let at = offset; at < end; ) {
    const blockOffset = blockOffsetOf(at, geometry);
    const blockEnd = Math.min(end, blockOffset + geometry.blockBytes);
    yield { blockOffset, start: at - blockOffset, end: blockEnd - blockOffset };
    at = blockEnd;
  }
}

/** Returns the index of the segment that contains a byte of a block. */
export function segmentOf(position: number, geometry: Geometry): number {
  return Math.floor(position / geometry.segmentBytes);
}

/**
 * Returns the length of a segment in a block of `blockBytes`: the segment size, less for the last segment, 0 past the block's
 * end.
 */
export function segmentLength(segment: number, blockBytes: number, { segmentBytes }: Geometry): number {
  return Math.max(0, Math.min(segmentBytes, blockBytes - segment * segmentBytes));
}

/** Returns the number of segments in the first `bytes` of a block. */
export function segmentCount(bytes: number, geometry: Geometry): number {
  return Math.ceil(bytes / geometry.segmentBytes);
}

/**
 * Checks the numbers of a range, not whether the object is that long. `length` 0 means: to the object's end. Throws
 * INVALID_ARGUMENT for numbers that are negative, fractional or beyond 2^53 - 1.
 */
export function checkRange(url: string, offset: number, length: number): void {
  if (!Number.isSafeInteger(offset) || offset < 0) {
    throw new CacheError("INVALID_ARGUMENT", `${url}: offset ${offset} is not a whole number from 0 to 2^53 - 1`);
  }
  if (!Number.isSafeInteger(length) || length < 0 || !Number.isSafeInteger(offset + length)) {
    throw new CacheError("INVALID_ARGUMENT", `${url}: length ${length} at offset ${offset} does not end between 0 and 2^53 - 1`);
  }
}

/** Returns the error for a range that begins at or past the object's end. */
export function outOfRange(url: string, offset: number, objectSize: number): CacheError {
  return new CacheError("OUT_OF_RANGE", `${url}: offset ${offset} is not inside the object, which has ${objectSize} bytes`);
}
