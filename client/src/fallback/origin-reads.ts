import type { CacheError, ObjectInfo, ObjectRef } from "@frontcache/proto";

/** A part of an object to read from the object store itself. */
export interface OriginRange {
  readonly offset: number;
  /** Bytes, at least 1. */
  readonly length: number;
  /** Empty: the current version. */
  readonly version: string;
}

/** The object store's answer to a read. */
export interface OriginBody {
  readonly version: string;
  readonly objectSize: number;
  /** The bytes of the range, fewer if the object ends first. Returning early ends the request. */
  readonly bytes: AsyncIterable<Uint8Array>;
}

/**
 * The port of reads from an object store, by the caller's own client. Rejects with a CacheError: FAILED_PRECONDITION if the current
 * version is another one, OUT_OF_RANGE, NOT_FOUND, PERMISSION_DENIED, or UNAVAILABLE for everything else.
 */
export interface OriginReads {
  read(object: ObjectRef, range: OriginRange, signal: AbortSignal): Promise<OriginBody>;
  stat(object: ObjectRef, version: string, signal: AbortSignal): Promise<ObjectInfo>;
  /** The error of a body that was interrupted. */
  failure(object: ObjectRef, error: unknown): CacheError;
}
