import type { ObjectInfo, ObjectRef } from "@frontcache/proto";

/** A range of an object to fetch. */
export interface OriginRange {
  readonly offset: number;
  /** Bytes, more than 0. The range may reach past the object's end. */
  readonly length: number;
  /** The version it must be of (a condition of the request); absent: whatever is current. */
  readonly version?: string;
}

/** An origin's checked answer to a range: it is of one version and of exactly `length` bytes. */
export interface OriginAnswer {
  readonly info: ObjectInfo;
  /** Another member said so and not the origin: its version may be an old one. */
  readonly isHearsay?: true;
  /** Bytes that the body holds: the range's length, or less when the object ends in it. */
  readonly length: number;
  /** The bytes in order. Iterate it to its end, or destroy the answer. It throws a CacheError where it is cut short. */
  readonly body: AsyncIterable<Uint8Array>;
  /** Drops what is unread and frees the connection; a read that waits ends at once. Harmless when repeated, or after the end. */
  destroy(): void;
}

/**
 * An object store as a port. Every method throws a CacheError: NOT_FOUND, PERMISSION_DENIED, FAILED_PRECONDITION (not of
 * the version asked for), OUT_OF_RANGE, RESOURCE_EXHAUSTED (throttled), UNAVAILABLE, CANCELLED.
 */
export interface Origin {
  fetch(ref: ObjectRef, range: OriginRange, signal: AbortSignal): Promise<OriginAnswer>;
  /** What is known of the object now, without its bytes. */
  stat(ref: ObjectRef, signal: AbortSignal): Promise<ObjectInfo>;
  /** Ends idle connections. */
  close(): void;
}
