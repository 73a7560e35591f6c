import type { BucketRef, ObjectInfo, ObjectRef, PrefixRef } from "@frontcache/proto";
import type { Landing } from "./landing.js";

/** A range of an object to fetch. */
export interface OriginRange {
  readonly offset: number;
  /** Bytes, more than 0. The range may reach past the object's end. */
  readonly length: number;
  /** The version it must be of (a condition of the request); absent: whatever is current. */
  readonly version?: string;
}

/** The bytes of an answer. Nothing of them moves before they are landed; an answer that is not landed must be destroyed. */
export interface OriginBody {
  /**
   * Brings all bytes, in order, to where the landing has room; once. Rejects with a CacheError where they are cut short, as by
   * `destroy` or an abort. Until it settles the landing's room is the body's; afterwards the body leaves it alone.
   */
  land(landing: Landing): Promise<void>;
  /** Drops what is outstanding and frees the connection; a landing ends at once. Harmless when repeated, or after the end. */
  destroy(): void;
}

/** An origin's checked answer to a range: it is of one version and of exactly `length` bytes. */
export interface OriginAnswer {
  readonly info: ObjectInfo;
  /** Another member said so and not the origin: its version may be an old one. */
  readonly isHearsay?: true;
  /** Bytes that the body holds: the range's length, or less when the object ends in it. */
  readonly length: number;
  /** The bytes in order. */
  readonly body: OriginBody;
}

/** How long an answer is worth waiting for: `little` where who asks has something to make do with. */
export type Patience = "full" | "little";

/** Which page of a listing to ask for. */
export interface ListPage {
  /** Keys that have it behind the prefix are folded into one common prefix up to it; empty: none are. */
  readonly delimiter: string;
  /** Objects and common prefixes at most, 1 to 1,000. There may be fewer although more follow. */
  readonly maxKeys: number;
  /** `nextToken` of the page before; absent: the first page. */
  readonly token?: string;
  /** Of the first page: only keys behind this one, in the order of their bytes. */
  readonly startAfter?: string;
}

/** An object as a listing names it. */
export interface ListedObject {
  readonly key: string;
  readonly objectSize: number;
  /** As in ObjectInfo; a listing is no proof that it is still so. */
  readonly version?: string;
  /** Milliseconds since 1970. */
  readonly lastModifiedMs?: number;
  /** The store's own word. */
  readonly storageClass?: string;
}

/** A page of a listing. Both lists are in the order of their names' bytes. */
export interface Listing {
  readonly objects: readonly ListedObject[];
  /** Common prefixes, delimiters at their ends included. */
  readonly prefixes: readonly string[];
  /** For the next page; absent: this is the last one. */
  readonly nextToken?: string;
}

/**
 * An object store as a port. Every method throws a CacheError: NOT_FOUND, PERMISSION_DENIED, FAILED_PRECONDITION (not of
 * the version asked for), OUT_OF_RANGE, RESOURCE_EXHAUSTED (throttled), UNAVAILABLE, CANCELLED.
 */
export interface Origin {
  fetch(ref: ObjectRef, range: OriginRange, signal: AbortSignal): Promise<OriginAnswer>;
  /** What is known of the object now, without its bytes. `patience` (default: full) is for what repeats requests. */
  stat(ref: ObjectRef, signal: AbortSignal, patience?: Patience): Promise<ObjectInfo>;
  /** One page of the objects under a prefix. NOT_FOUND: no such bucket. A page may be empty although more follow. */
  list(ref: PrefixRef, page: ListPage, signal: AbortSignal): Promise<Listing>;
  /** Resolves where the bucket is there and may be listed. */
  statBucket(ref: BucketRef, signal: AbortSignal): Promise<void>;
  /** Ends idle connections. */
  close(): void;
}
