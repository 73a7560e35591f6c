import {
  CacheError,
  type Completion,
  type ObjectRef,
  parseObjectUrl,
  type ValueDescription,
  type ValueEvent,
  type ValueInfo,
} from "@frontcache/proto";
import type { Slice } from "../runtime/slice.js";
import type { Principal } from "../security/principal.js";

export {
  type ByteSpan,
  type Completion,
  type ConflictReason,
  checkDescription,
  checkSize,
  MAX_FLAGS,
  MAX_VALUE_BYTES,
  ValueConflict,
  type ValueDescription,
  type ValueEvent,
  type ValueInfo,
} from "@frontcache/proto";

/** What every request for a value carries. Grants are checked by the caller's `authorizedValues`. */
export interface ValueRequest {
  /** `cache://bucket/key`. */
  readonly url: string;
  readonly principal: Principal;
  /** Aborting it ends the request. */
  readonly signal: AbortSignal;
}

export interface PutRequest extends ValueRequest, ValueDescription {
  /** Bytes of the body, if they are known before. Rejects with INVALID_ARGUMENT if the body has another length. */
  readonly size?: number | undefined;
  /** `*`: rejects with ValueConflict `exists` if there is a value. */
  readonly ifNoneMatch?: "*" | undefined;
  /**
   * If another writer of the key is at work: reject with ValueConflict `already_started`, wait until it has ended, or, by default, write
   * too: the last one that began wins, as in S3.
   */
  readonly whileWritten?: "refuse" | "wait" | undefined;
}

export interface OpenRequest extends ValueRequest {
  readonly offset: number;
  /** Undefined: to the end. A range that ends behind the end is cut. */
  readonly length?: number | undefined;
  /** Reads a value that is still being written as it arrives. If its writer dies, the read rejects with UNAVAILABLE. Absent: no. */
  readonly follow?: boolean | undefined;
  /** Rejects with FAILED_PRECONDITION if the value has another version. */
  readonly version?: string | undefined;
}

/** A read of a value: bytes of one version, in order. Must be closed. */
export interface ValueRead {
  /** Of a value that is still being written, `size` is what has arrived, if no size was given. */
  readonly info: ValueInfo;
  /** The bytes come from this member's volumes. */
  readonly isLocal: boolean;
  readonly offset: number;
  /** Bytes of the read; undefined: its value is being written, and its size is unknown. */
  readonly length: number | undefined;
  /**
   * The next bytes, at once if they are in memory; undefined at the end. One call at a time. Release each slice. `mayPipe`: the caller
   * sends `Slice.piped`, too. Absent: no.
   */
  next(mayPipe?: boolean): Slice | undefined | Promise<Slice | undefined>;
  close(): void;
}

export interface BeginRequest extends ValueRequest, ValueDescription {
  /** More than 0. */
  readonly size: number;
  /** Rejects with ValueConflict `exists` if there is a value. An upload that is running always conflicts: `already_started`. */
  readonly exclusive: boolean;
}

export interface ListRequest {
  readonly bucket: string;
  /** Keys begin with it. */
  readonly prefix: string;
  /** Only keys after this one, in byte order. Empty: from the first. */
  readonly after: string;
  /** 1 to 1,000. */
  readonly limit: number;
  readonly principal: Principal;
  readonly signal: AbortSignal;
}

export interface ValueList {
  /** Sorted by key in byte order. */
  readonly values: readonly ValueInfo[];
  /** Whether more values follow. */
  readonly isTruncated: boolean;
}

export interface LockRequest extends ValueRequest {
  /** Chosen by the client. The same name renews the lock. */
  readonly holder: string;
  /** 1 to 3,600. */
  readonly seconds: number;
}

export interface MonitorRequest {
  readonly bucket: string;
  /** Keys begin with it. A whole key is a prefix, too: compare the events' URLs. */
  readonly prefix: string;
  readonly principal: Principal;
  readonly signal: AbortSignal;
}

/** Counted since this member began. */
export interface ValueStats {
  readonly hits: number;
  readonly misses: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly inserts: number;
  readonly deletes: number;
  readonly evictions: number;
  readonly expirations: number;
  /** Values of which a block was gone: they count as evicted, too. */
  readonly lost: number;
  /** Writes that one member took because no other could be reached. */
  readonly underReplicated: number;
  /** Copies made because a member came or went. */
  readonly repaired: number;
  /** Values on this member, copies included. */
  readonly entries: number;
  readonly sizeBytes: number;
  readonly capacityBytes: number;
  /** Writers at work here. */
  readonly writers: number;
  readonly locks: number;
}

/**
 * The port to values. Any member answers any request. All methods reject with a CacheError. The memory of a body's pieces must not change
 * until the write has ended.
 */
export interface Values {
  /** Resolves when as many members have the value as `--replicas` says, or fewer (counted) if no others can be reached. */
  put(request: PutRequest, body: Uint8Array | AsyncIterable<Uint8Array>): Promise<ValueInfo>;
  /** Rejects with NOT_FOUND, or OUT_OF_RANGE if `offset` is at or past the end of a value that has bytes. */
  open(request: OpenRequest): ValueRead | Promise<ValueRead>;
  /** Resolves with undefined if the value is missing, expired or still being written. */
  head(request: ValueRequest): Promise<ValueInfo | undefined>;
  /** Resolves with whether there was a value. Rejects with ValueConflict `locked` if a client holds a lock. */
  delete(request: ValueRequest): Promise<boolean>;
  list(request: ListRequest): Promise<ValueList>;
  /** Begins a sparse upload: a hidden value of a fixed size, whose ranges any members take in any order. */
  begin(request: BeginRequest): Promise<void>;
  /** Rejects with NOT_FOUND without an upload, OUT_OF_RANGE if bytes lie behind its end. Where ranges overlap, the last one counts. */
  writeRange(request: ValueRequest, offset: number, bytes: Uint8Array | AsyncIterable<Uint8Array>): Promise<Completion>;
  /** Resolves with undefined without a running upload. */
  completion(request: ValueRequest): Promise<Completion | undefined>;
  /** Makes the upload the value. Rejects with ValueConflict `incomplete`; with NOT_FOUND without an upload: finalize once. */
  finalize(request: ValueRequest & { readonly ttlSeconds?: number | undefined }): Promise<ValueInfo>;
  /** Ends a sparse upload, if there is one. */
  abort(request: ValueRequest): Promise<void>;
  /** The value is not evicted, deleted or overwritten while it is locked. Resolves with when the lock ends, milliseconds since 1970. */
  lock(request: LockRequest): Promise<number>;
  unlock(request: Omit<LockRequest, "seconds">): Promise<void>;
  /** Events until the signal is aborted or the consumer returns. Bounded: a consumer that is too slow gets RESOURCE_EXHAUSTED. */
  monitor(request: MonitorRequest): AsyncIterable<ValueEvent>;
  /** Of this member. */
  stats(): ValueStats;
}

/** Parses the URL of a value. Throws INVALID_ARGUMENT. */
export function parseValueUrl(url: string): ObjectRef {
  const ref = parseObjectUrl(url);
  if (ref.scheme === "cache") return ref;
  throw new CacheError("INVALID_ARGUMENT", `${url} is not a value: write cache://bucket/key`);
}
