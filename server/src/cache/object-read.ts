import type { CacheReport } from "@frontcache/client/members";
import type { ObjectInfo } from "@frontcache/proto";
import type { Slice } from "../runtime/slice.js";

/**
 * Where the bytes of a read came from, for metrics: cached before, a fill that was running already, a fill of its own, cached of
 * a version that could not be confirmed because the origin was out of reach, or another member.
 */
export type ReadResult = "hit" | "joined" | "filled" | "stale" | "forwarded";

/** Bytes of one version of an object on their way to one reader, in order. */
export interface ObjectRead {
  readonly info: ObjectInfo;
  /** Where they begin in the object. */
  readonly offset: number;
  /** How many there are: what was asked for, or less where the object ends. */
  readonly length: number;
  readonly result: ReadResult;
  /** How long ago the origin named this version as the current one, milliseconds. Undefined: unknown, or another member knows. */
  readonly ageMs?: number | undefined;
  /** How another member's cache answered. Undefined: no other member answered, or it did not say. */
  readonly forwarded?: CacheReport | undefined;
  /**
   * The next bytes, at once where they are in memory; undefined at the end. One call at a time. Rejects with a CacheError
   * where the rest can't be had. `mayPipe`: the caller sends `Slice.piped`, too. Absent: no.
   */
  next(mayPipe?: boolean): Slice | undefined | Promise<Slice | undefined>;
  /** Frees what the read uses, whether it is at its end or not. Slices stay valid until their release. */
  close(): void;
}
