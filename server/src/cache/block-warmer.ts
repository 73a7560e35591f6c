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

/** A block to have on a volume before anybody reads it. */
export interface WarmRequest {
  readonly ref: ObjectRef;
  /** Absent: the current version. */
  readonly version: string | undefined;
  readonly blockOffset: number;
  /** Of that version, where it is known; then nobody has to be asked for it. */
  readonly objectSize: number | undefined;
  /** Only looks what is missing. */
  readonly dryRun: boolean;
  readonly signal: AbortSignal;
}

/** What there was to do for a block, in bytes of it. Together they are the block. */
export interface WarmedBlock {
  readonly version: string;
  readonly objectSize: number;
  /** Held before. */
  readonly cachedBytes: number;
  /** Fetched, by this or by a fill that ran already; of a dry run: what would be. */
  readonly fetchedBytes: number;
}

export interface BlockWarmerOptions {
  readonly geometry: Geometry;
  readonly store: Pick<BlockStore, "pin">;
  readonly fills: Pick<Fills, "open">;
}

/** Brings whole blocks onto the volumes, behind all demand, without handing out a byte. */
export class BlockWarmer {
  constructor(private readonly options: BlockWarmerOptions) {}

  /**
   * Resolves when all of the block is held. Rejects with what its fill met, or UNAVAILABLE where what was fetched could not be
   * kept. An aborted signal ends the waiting; what was asked for by then is fetched, and kept.
   */
  async warm(request: WarmRequest, info: Pick<ObjectInfo, "version" | "objectSize">): Promise<WarmedBlock> {
    const { ref, blockOffset, dryRun, signal } = request;
    const { version, objectSize } = info;
    const bytes = blockLength(blockOffset, objectSize, this.options.geometry);
    if (bytes === 0 && blockOffset > 0) throw outOfRange(ref.url, blockOffset, objectSize);
    const missing = this.#missing(request, version, bytes);
    const fetchedBytes = missing.reduce((sum, segment) => sum + segmentLength(segment, bytes, this.options.geometry), 0);
    const warmed = { version, objectSize, cachedBytes: bytes - fetchedBytes, fetchedBytes };
    if (missing.length === 0 || dryRun) return warmed;
    const fill = this.options.fills.open(ref, version, blockOffset);
    fill.enter(missing);
    fill.want(missing, "background");
    await Promise.all(missing.map((segment) => landed(fill, segment, signal)));
    if (this.#missing(request, version, bytes).length > 0) throw notKept(request);
    return warmed;
  }

  /** Segments of the block's `bytes` that are not held. */
  #missing({ ref, blockOffset }: WarmRequest, version: string, bytes: number): number[] {
    const pin = this.options.store.pin({ url: ref.url, version, offset: blockOffset });
    const missing: number[] = [];
    const count = segmentCount(bytes, this.options.geometry);
    for (let segment = 0; segment < count; segment++) if (pin?.has(segment) !== true) missing.push(segment);
    pin?.release();
    return missing;
  }
}

/** Resolves when an entered segment is on disk, or never will be; leaves it. */
async function landed(fill: Fill, segment: number, signal: AbortSignal): Promise<void> {
  try {
    while (fill.has(segment) && !fill.isUnkept(segment)) await fill.progress(segment, signal);
    const failure = fill.failure(segment);
    if (failure !== undefined) throw failure;
  } finally {
    fill.leave(segment, false);
  }
}

function notKept({ ref, blockOffset }: WarmRequest): CacheError {
  return new CacheError(
    "UNAVAILABLE",
    `${ref.url}: the block at offset ${blockOffset} was fetched and could not be kept: see that its member's volumes have room and work`,
  );
}
