import {
  blockLength,
  CacheError,
  type Geometry,
  type ObjectInfo,
  type ObjectRef,
  outOfRange,
  segmentCount,
  segmentLength,
} from "@frontcache/proto";
import type { BlockStore } from "../storage/block-store.js";
import type { Fill } from "./fill/fill.js";
import type { Fills } from "./fill/fills.js";

/** A block that is to be cached before it is read. */
export interface WarmRequest {
  readonly ref: ObjectRef;
  /** Absent: the current version. */
  readonly version: string | undefined;
  readonly blockOffset: number;
  /** The size of that version, if it is known: then the origin need not be asked. */
  readonly objectSize: number | undefined;
  /** Only determines what is missing. */
  readonly dryRun: boolean;
  readonly signal: AbortSignal;
}

/** What was done for a block. The bytes cached before and the bytes fetched add up to the block. */
export interface WarmedBlock {
  readonly version: string;
  readonly objectSize: number;
  /** Cached before. */
  readonly cachedBytes: number;
  /** Fetched, by this call or by a fill that ran already. Of a dry run: what would be fetched. */
  readonly fetchedBytes: number;
}

export interface BlockWarmerOptions {
  readonly geometry: Geometry;
  readonly store: Pick<BlockStore, "pin">;
  readonly fills: Pick<Fills, "open">;
}

/** Caches whole blocks, behind all demand. */
export class BlockWarmer {
  readonly #options: BlockWarmerOptions;

  constructor(options: BlockWarmerOptions) {
    this.#options = options;
  }

  /**
   * Resolves when the whole block is cached. Rejects with the fill's error, or with UNAVAILABLE if what was fetched could not
   * be kept. An aborted signal ends the wait; what was requested before is still fetched and cached.
   */
  async warm(request: WarmRequest, info: Pick<ObjectInfo, "version" | "objectSize">): Promise<WarmedBlock> {
    const { ref, blockOffset, dryRun, signal } = request;
    const { version, objectSize } = info;
    const bytes = blockLength(blockOffset, objectSize, this.#options.geometry);
    if (bytes === 0 && blockOffset > 0) throw outOfRange(ref.url, blockOffset, objectSize);
    const missing = this.#missing(request, version, bytes);
    const fetchedBytes = missing.reduce((sum, segment) => sum + segmentLength(segment, bytes, this.#options.geometry), 0);
    const warmed = { version, objectSize, cachedBytes: bytes - fetchedBytes, fetchedBytes };
    if (missing.length === 0 || dryRun) return warmed;
    const fill = this.#options.fills.open(ref, version, blockOffset);
    fill.segments.enter(missing);
    fill.request(missing, "background");
    await Promise.all(missing.map((segment) => landed(fill, segment, signal)));
    if (this.#missing(request, version, bytes).length > 0) throw notKept(request);
    return warmed;
  }

  /** Segments of the block's `bytes` that are not cached. */
  #missing({ ref, blockOffset }: WarmRequest, version: string, bytes: number): number[] {
    const pin = this.#options.store.pin({ url: ref.url, version, offset: blockOffset });
    const missing: number[] = [];
    const count = segmentCount(bytes, this.#options.geometry);
    for (let segment = 0; segment < count; segment++) if (pin?.has(segment) !== true) missing.push(segment);
    pin?.release();
    return missing;
  }
}

/** Resolves when an entered segment is on disk, or never will be. Leaves it. */
async function landed(fill: Fill, segment: number, signal: AbortSignal): Promise<void> {
  try {
    while (fill.has(segment) && !fill.segments.isUnkept(segment)) await fill.segments.progress(segment, signal);
    const failure = fill.segments.failure(segment);
    if (failure !== undefined) throw failure;
  } finally {
    fill.leave(segment, false);
  }
}

function notKept({ ref, blockOffset }: WarmRequest): CacheError {
  return new CacheError(
    "UNAVAILABLE",
    `${ref.url}: the block at offset ${blockOffset} was fetched but could not be cached: check that the member's volumes have room and work`,
  );
}
