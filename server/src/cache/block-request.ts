import { CacheError, type ObjectInfo, type ObjectRef } from "@frontcache/proto";
import type { RequestBudget } from "../origin/request-budget.js";

/** A read of (a part of) one block. */
export interface BlockRequest {
  readonly ref: ObjectRef;
  /** Absent: the current version. */
  readonly version: string | undefined;
  /** The object's record, if it is known: its headers are newer than those of the block. */
  readonly record?: ObjectInfo | undefined;
  /** The block's first byte in the object. */
  readonly blockOffset: number;
  /** First byte, from the block's beginning. */
  readonly start: number;
  /** One past the last byte, from the block's beginning. May lie past the object's end. */
  readonly end: number;
  /** The reader does not know whether the object reaches to `end`: only one part is requested before the size is known. */
  readonly openEnded: boolean;
  /** Answer only with cached bytes, else NOT_FOUND. Without a version: of the version observed last, at any time. */
  readonly cachedOnly: boolean;
  /** The read was requested before: requests to the origin that the block has cost a moment ago count for it, too. Absent: no. */
  readonly isRepeated?: boolean | undefined;
  /** How many requests to the origin the member allows that forwards the read. Absent: as many as any read. */
  readonly originRequests?: number | undefined;
  /** What the requests to the origin for this read are counted by. Absent: the read has made none. */
  readonly budget?: RequestBudget | undefined;
  /** When `signal` is aborted because the client gives up, monotonic milliseconds. Absent: that is not known. */
  readonly deadlineAtMs?: number | undefined;
  readonly signal: AbortSignal;
}

/** A read whose requests to the origin `budget` counts. Each field is named, because spreading costs V8 microseconds. */
export function budgeted(request: BlockRequest, budget: RequestBudget): BlockRequest {
  const { ref, version, record, blockOffset, start, end, openEnded, cachedOnly, signal } = request;
  const { isRepeated, originRequests, deadlineAtMs } = request;
  const all: { readonly [Name in keyof Required<BlockRequest>]: BlockRequest[Name] } = {
    ref,
    version,
    record,
    blockOffset,
    start,
    end,
    openEnded,
    cachedOnly,
    isRepeated,
    originRequests,
    budget,
    deadlineAtMs,
    signal,
  };
  return all;
}

/** What a read says of its object: the record if it is of the same version, else what came with the block. */
export function describedBy({ record }: BlockRequest, found: ObjectInfo): ObjectInfo {
  const isSame = record?.version === found.version && record.objectSize === found.objectSize;
  return isSame && record.lacks !== "metadata" ? record : found;
}

/** The error of a cached-only read that misses. */
export function notCached(ref: ObjectRef, offset: number): CacheError {
  return new CacheError("NOT_FOUND", `${ref.url}: the bytes at offset ${offset} are not cached here`);
}
