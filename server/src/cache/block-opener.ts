import { blockLength, type Geometry, type ObjectInfo, outOfRange, segmentCount, segmentOf } from "@frontcache/proto";
import { untilAborted } from "@frontcache/proto/runtime";
import type { BlockPin } from "../storage/block.js";
import type { BlockStore } from "../storage/block-store.js";
import { BlockRead } from "./block-read.js";
import type { BlockRequest } from "./block-request.js";
import type { Fill } from "./fill/fill.js";
import type { Fills } from "./fill/fills.js";
import type { ObjectRead, ReadResult } from "./object-read.js";

/** How much of a block is fetched when a reader wants a part of it. */
export type FillMode = "auto" | "whole" | "wanted";

export interface BlockOpenerOptions {
  readonly geometry: Geometry;
  readonly store: Pick<BlockStore, "pin">;
  readonly fills: Fills;
  readonly fill: FillMode;
  /** Bytes asked for at first where the reader does not know how far the object reaches. */
  readonly partBytes: number;
}

/** A fill that a read has entered, and where. */
interface Entry {
  readonly fill: Fill;
  /** Segments that were missing, ascending. */
  readonly segments: number[];
  /** Whether parts had to be planned for them: nobody else had asked before. */
  readonly planned: boolean;
  /** Whether some of the block was there or on its way before. */
  readonly touchedBefore: boolean;
}

/** Opens reads of one block: from what is held, and a fill of what is missing. */
export class BlockOpener {
  constructor(private readonly options: BlockOpenerOptions) {}

  /** A read of held bytes alone; undefined where some are missing. Throws OUT_OF_RANGE where the object is known to end before. */
  hit(request: BlockRequest, version: string, result: ReadResult): ObjectRead | undefined {
    const pin = this.#pin(request, version);
    if (pin === undefined) return undefined;
    try {
      const end = this.#clampedEnd(request, pin.info);
      if (this.#areAllCached(request, end, pin)) return this.#read(request, pin.info, end, pin, undefined, result);
    } catch (error) {
      pin.release();
      throw error;
    }
    pin.release();
    return undefined;
  }

  /** Whether some of the block is held of a version. */
  isAnyCached(request: BlockRequest, version: string): boolean {
    const pin = this.#pin(request, version);
    pin?.release();
    return pin !== undefined;
  }

  /** Whether all that is wanted is held of a version, which may be an old one that does not even reach that far. */
  isCached(request: BlockRequest, { version, objectSize }: ObjectInfo): boolean {
    if (request.blockOffset + request.start >= objectSize) return false;
    const hit = this.hit(request, version, "hit");
    hit?.close();
    return hit !== undefined;
  }

  /** A read of one version, with a fill of what is missing. `known`: what is known of that version already. */
  fill(request: BlockRequest, version: string, known: ObjectInfo | undefined): ObjectRead | Promise<ObjectRead> {
    const hit = this.hit(request, version, "hit");
    if (hit !== undefined) return hit;
    const { fills } = this.options;
    const { ref, blockOffset } = request;
    const pin = this.#pin(request, version);
    pin?.release();
    const info = pin?.info ?? known ?? fills.find(ref.url, version, blockOffset)?.info;
    const end = info === undefined ? this.#cautiousEnd(request) : this.#clampedEnd(request, info);
    const segments = this.#missing(request, end, pin);
    const fill = fills.open(ref, version, blockOffset);
    const touchedBefore = pin !== undefined || fill.busy;
    fill.enter(segments);
    const planned = fill.want(segments, "demand");
    return this.#described(request, { fill, segments, planned, touchedBefore }, info ?? fill.description);
  }

  /** Fetches the wanted bytes unconditionally; the answer's head tells the version. */
  discover(request: BlockRequest): Promise<ObjectRead> {
    const fill = this.options.fills.discover(request.ref, request.blockOffset);
    const segments = this.#missing(request, this.#cautiousEnd(request), undefined);
    fill.enter(segments);
    fill.want(segments, "demand");
    return this.#described(request, { fill, segments, planned: true, touchedBefore: false }, fill.description);
  }

  /** Once version and size are known: shortens the read to the object's end, wants what caution had left out. */
  async #described(request: BlockRequest, entry: Entry, description: ObjectInfo | Promise<ObjectInfo>): Promise<ObjectRead> {
    const { fill, segments } = entry;
    try {
      const info = description instanceof Promise ? await untilAborted(description, request.signal) : description;
      if (request.version === undefined) await confirmed(entry, request.signal);
      const end = this.#clampedEnd(request, info);
      const pin = this.#pin(request, info.version);
      const more = this.#missing(request, end, pin).filter((segment) => !segments.includes(segment));
      fill.enter(more);
      segments.push(...more);
      fill.want(more, "demand");
      this.#completeBlock(entry, request, info, pin);
      return this.#read(request, info, end, pin, { fill, segments }, entry.planned ? "filled" : "joined");
    } catch (error) {
      for (const segment of segments) fill.leave(segment, false);
      throw error;
    }
  }

  /**
   * Has the rest of the block fetched behind all demand, where the block proves worth it: a second read misses it elsewhere,
   * or this one wants half of it.
   */
  #completeBlock(entry: Entry, request: BlockRequest, info: ObjectInfo, pin: BlockPin | undefined): void {
    const { fill: mode, geometry } = this.options;
    if (mode === "wanted" || !entry.planned) return;
    const count = segmentCount(blockLength(request.blockOffset, info.objectSize, geometry), geometry);
    if (mode === "auto" && !entry.touchedBefore && entry.segments.length * 2 < count) return;
    const rest: number[] = [];
    for (let segment = 0; segment < count; segment++) if (pin?.has(segment) !== true) rest.push(segment);
    entry.fill.want(rest, "background");
  }

  #read(
    { ref, blockOffset, start, cachedOnly, signal }: BlockRequest,
    info: ObjectInfo,
    end: number,
    pin: BlockPin | undefined,
    filling: { fill: Fill; segments: readonly number[] } | undefined,
    result: ReadResult,
  ): BlockRead {
    const { geometry, store, fills } = this.options;
    return new BlockRead({
      geometry,
      store,
      fills,
      ref,
      info,
      blockOffset,
      start,
      end,
      pin,
      filling,
      result,
      cachedOnly,
      signal,
    });
  }

  #pin({ ref, blockOffset }: BlockRequest, version: string): BlockPin | undefined {
    return this.options.store.pin({ url: ref.url, version, offset: blockOffset });
  }

  #areAllCached({ start }: BlockRequest, end: number, pin: BlockPin): boolean {
    const { geometry } = this.options;
    const last = segmentOf(end - 1, geometry);
    for (let segment = segmentOf(start, geometry); segment <= last; segment++) if (!pin.has(segment)) return false;
    return true;
  }

  /** Segments from the read's start to `end` that are not held. */
  #missing({ start }: BlockRequest, end: number, pin: BlockPin | undefined): number[] {
    const { geometry } = this.options;
    const last = segmentOf(end - 1, geometry);
    const missing: number[] = [];
    for (let segment = segmentOf(start, geometry); segment <= last; segment++) {
      if (pin?.has(segment) !== true) missing.push(segment);
    }
    return missing;
  }

  #clampedEnd({ ref, blockOffset, start, end }: BlockRequest, info: ObjectInfo): number {
    const length = blockLength(blockOffset, info.objectSize, this.options.geometry);
    if (start >= length) throw outOfRange(ref.url, blockOffset + start, info.objectSize);
    return Math.min(end, length);
  }

  #cautiousEnd({ start, end, openEnded }: BlockRequest): number {
    return openEnded ? Math.min(end, start + this.options.partBytes) : end;
  }
}

/**
 * What is believed to be current may have been replaced: the origin's answer to the first missing bytes confirms it before
 * any byte goes out, so that the read can still start again.
 */
async function confirmed({ fill, segments }: Entry, signal: AbortSignal): Promise<void> {
  const first = segments[0]!;
  if (fill.has(first) && fill.buffer(first) === undefined) await fill.progress(first, signal);
  // It may have failed before, while another part's answer described the block.
  const failure = fill.failure(first);
  if (failure !== undefined) throw failure;
}
