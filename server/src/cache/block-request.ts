import { CacheError, type ObjectRef } from "@frontcache/proto";

/** A read of (a part of) one block. */
export interface BlockRequest {
  readonly ref: ObjectRef;
  /** Absent: the current version. */
  readonly version: string | undefined;
  /** Where the block begins in the object. */
  readonly blockOffset: number;
  /** First byte, from the block's beginning. */
  readonly start: number;
  /** One past the last byte, from the block's beginning; it may lie behind the object's end. */
  readonly end: number;
  /** The reader does not know whether the object reaches to `end`: ask for one part before the size is known. */
  readonly openEnded: boolean;
  /** Answer only with what is held, without a version that of the one seen last, however long ago: NOT_FOUND otherwise. */
  readonly cachedOnly: boolean;
  readonly signal: AbortSignal;
}

/** The error of a read of held bytes alone where some are not. */
export function notCached(ref: ObjectRef, offset: number): CacheError {
  return new CacheError("NOT_FOUND", `${ref.url}: the bytes at offset ${offset} are not held here`);
}
