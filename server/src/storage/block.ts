import type { BlockId, ObjectInfo } from "@frontcache/proto";
import type { Slice } from "../runtime/slice.js";

export type { BlockId } from "@frontcache/proto";

/**
 * Returns the identity as one string, for maps: different for any two blocks. Keys may contain line breaks, and
 * the version that a client sends may contain any character; its length marks its end. Joined, because the pieces of a template
 * stay in memory for a while: 9 MB for 65,536 blocks at the start.
 */
export function blockKey({ url, version, offset }: BlockId): string {
  return [offset, version.length, version, url].join(" ");
}

/** A whole fetched segment to be written into a block file. The block's last one may be shorter. */
export interface FilledSegment {
  /** Index in the block. */
  readonly index: number;
  readonly bytes: Uint8Array;
  /** zlib's CRC-32 of `bytes`. */
  readonly crc: number;
}

/** The metadata in a block file. */
export interface BlockDescription {
  readonly id: BlockId;
  readonly info: ObjectInfo;
  /** Send time of the last request that the origin answered with this version, milliseconds since 1970. 0: unknown. */
  readonly createdAtMs: number;
}

/** A pinned block: its file stays readable until `release`, even if the block is evicted. */
export interface BlockPin {
  readonly id: BlockId;
  readonly info: ObjectInfo;
  /** Returns whether the segment is cached now. Fills may add segments, and damage may remove them, while the block is pinned. */
  has(segment: number): boolean;
  /**
   * Returns bytes of the block from `start`, at least one and at most up to `end`. Synchronous if they are mapped and in memory;
   * otherwise on the thread pool. Undefined if they are no longer cached: evicted, truncated, damaged, unreadable.
   * That is a miss, never an error.
   */
  read(start: number, end: number): Slice | Promise<Slice | undefined> | undefined;
  /** Must be called exactly once. Returned slices keep their bytes valid on their own. */
  release(): void;
}

/** Space on a volume, reserved for bytes that will be fetched. */
export interface Reservation {
  readonly bytes: number;
  /** Releases the unused space. May be called repeatedly. */
  release(): void;
}
