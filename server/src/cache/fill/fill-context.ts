import type { Geometry, ObjectInfo, ObjectRef } from "@frontcache/proto";
import type { Origin } from "../../origin/origin.js";
import type { Clock } from "../../runtime/clock.js";
import type { BlockStore } from "../../storage/block-store.js";
import type { FillMemory } from "./fill-memory.js";

/** What all fills of a member share. */
export interface FillContext {
  readonly geometry: Geometry;
  readonly origin: Origin;
  readonly store: Pick<BlockStore, "reserve" | "write">;
  readonly memory: FillMemory;
  /** Bytes that a part should have at least. */
  readonly partBytes: number;
  /** Parts of one block that may be fetched at a time. */
  readonly parallelism: number;
  readonly clock: Clock;
  /** Aborted when the member closes. */
  readonly signal: AbortSignal;
}

/** What one fill is of. */
export interface FillTarget {
  readonly ref: ObjectRef;
  /** Where the block begins in the object. */
  readonly blockOffset: number;
  /** Absent: the first answer decides. */
  readonly version: string | undefined;
}

/** What one fill tells. */
export interface FillEvents {
  /** The first answer has come: version and size are known. */
  described(info: ObjectInfo): void;
  /** The origin has said that this version is current, asked at `askedAtMs` (monotonic). */
  seen(info: ObjectInfo, askedAtMs: number): void;
  /** Nothing runs, waits or is kept in memory any more. Told once; the fill is not used again. */
  idle(): void;
}
