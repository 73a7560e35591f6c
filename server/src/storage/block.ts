import { join } from "node:path";
import type { BlockId, ObjectInfo } from "@frontcache/proto";
import type { Slice } from "../runtime/slice.js";

export type { BlockId } from "@frontcache/proto";

/**
 * The identity as one string, for maps: different for any two blocks, whatever their parts hold. Keys may have line breaks, and
 * the version that a reader names any character at all; its length says where it ends. Joined, because a template's pieces
 * stay beside the string for a while: 9 MB of 65,536 blocks at the start.
 */
export function blockKey({ url, version, offset }: BlockId): string {
  return [offset, version.length, version, url].join(" ");
}

/** A fetched segment, whole (the block's last one may be shorter), on its way to a block file. */
export interface FilledSegment {
  /** Index in the block. */
  readonly index: number;
  readonly bytes: Uint8Array;
  /** zlib's CRC-32 of `bytes`. */
  readonly crc: number;
}

/** What a block file records besides its segments. */
export interface BlockDescription {
  readonly id: BlockId;
  readonly info: ObjectInfo;
  /** When the last request was sent that the origin answered with this version, milliseconds since 1970. 0: unknown. */
  readonly createdAtMs: number;
}

/** A pinned block: its file stays readable until `release`, whatever is evicted. */
export interface BlockPin {
  readonly id: BlockId;
  readonly info: ObjectInfo;
  /** Whether the segment is cached now. A fill may add segments, and damage may remove them, while the block is pinned. */
  has(segment: number): boolean;
  /**
   * Bytes of the block from `start`, at least one and at most up to `end`. At once where they are mapped and in memory;
   * otherwise by the thread pool. Undefined if they are not cached after all: evicted, truncated, damaged, unreadable.
   * That is a miss, never an error.
   */
  read(start: number, end: number): Slice | Promise<Slice | undefined> | undefined;
  /** Exactly once. Slices given out keep the bytes alive on their own. */
  release(): void;
}

/** Room on a volume, reserved for bytes that are about to be fetched. */
export interface Reservation {
  readonly bytes: number;
  /** Gives back what was not written. Harmless when repeated. */
  release(): void;
}

/** Where a volume keeps block files that are not whole yet. Empty at rest. */
export function temporaryDirectory(volumePath: string): string {
  return join(volumePath, "tmp");
}
