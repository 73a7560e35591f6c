import { blockLength, type ObjectInfo, outOfRange, segmentCount, segmentOf } from "@frontcache/proto";
import { untilAborted } from "@frontcache/proto/runtime";
import type { BlockPin } from "../storage/block.js";
import { BlockRead, type BlockReadContext } from "./block-read.js";
import { type BlockRequest, describedBy } from "./block-request.js";
import type { Fill } from "./fill/fill.js";
import type { Fills } from "./fill/fills.js";
import type { ObjectRead, ReadResult } from "./object-read.js";

/** How much of a block is fetched when a read misses a part of it. */
export type FillMode = "auto" | "whole" | "wanted";

export interface BlockOpenerOptions extends BlockReadContext {
  readonly fills: Fills;
  readonly fill: FillMode;
  /** Bytes requested at first if the reader does not know where the object ends. */
  readonly partBytes: number;
}

/** A fill that a read has entered, and where. */
interface Entry {
  readonly fill: Fill;
  /** Segments that were missing, ascending. */
  readonly segments: number[];
  /** Whether parts had to be planned for these segments: no other read had requested them. */
  readonly isPlanned: boolean;
  /** Whether some of the block was cached or on its way before. */
  readonly wasUsedBefore: boolean;
}

/** Opens reads of one block: of cached segments, and of a fill of the missing ones. */
export class BlockOpener {
  readonly #options: BlockOpenerOptions;

  constructor(options: BlockOpenerOptions) {
    this.#options = options;
  }

  /** Pins what is cached of the block in one version. */
  pin({ ref, blockOffset }: BlockRequest, version: string): BlockPin | undefined {
    return this.#options.store.pin({ url: ref.url, version, offset: blockOffset });
  }

  /**
   * A read of a pinned block that has all requested segments; it owns the pin. Undefined: some are missing, the pin stays the
   * caller's. Throws OUT_OF_RANGE, after releasing the pin, if the object ends before the range.
   */
  cached(request: BlockRequest, pin: BlockPin, result: ReadResult): BlockRead | undefined {
    try {
      const end = this.#clampedEnd(request, pin.info);
      if (!this.#areAllCached(request, end, pin)) return undefined;
      return new BlockRead(this.#options, request, {
        info: describedBy(request, pin.info),
        end,
        pin,
        filling: undefined,
        result,
      });
    } catch (error) {
      pin.release();
      throw error;
    }
  }

  /** Whether all requested segments are cached of a version, which may be an old one that ends before the range. */
  isCached(request: BlockRequest, { objectSize }: ObjectInfo, pin: BlockPin | undefined): boolean {
    if (pin === undefined || request.blockOffset + request.start >= objectSize) return false;
    return this.#areAllCached(request, this.#clampedEnd(request, pin.info), pin);
  }

  /** A read of one version, with a fill of the missing segments. `known`: what is known of that version already. */
  fill(
    request: BlockRequest,
    version: string,
    known: ObjectInfo | undefined,
    pinned: PinnedBlock,
  ): ObjectRead | Promise<ObjectRead> {
    const pin = pinned.of(version);
    const hit = pin && this.cached(request, pin, "hit");
    if (hit !== undefined) {
      pinned.handOver();
      return hit;
    }
    const { fills } = this.#options;
    const { ref, blockOffset } = request;
    const info = pin?.info ?? known ?? fills.find(ref.url, version, blockOffset)?.description.info;
    const end = info === undefined ? this.#cautiousEnd(request) : this.#clampedEnd(request, info);
    const segments = this.#missing(request, end, pin);
    const fill = fills.open(ref, version, blockOffset);
    const wasUsedBefore = pin !== undefined || fill.isBusy;
    fill.segments.enter(segments);
    const isPlanned = fill.request(segments, "demand", request.budget);
    return this.#described(request, { fill, segments, isPlanned, wasUsedBefore }, pinned, info);
  }

  /** Fetches the requested bytes without a version. The answer's head says which version is current. */
  discover(request: BlockRequest, pinned: PinnedBlock): Promise<ObjectRead> {
    const fill = this.#options.fills.discover(request.ref, request.blockOffset);
    const segments = this.#missing(request, this.#cautiousEnd(request), undefined);
    fill.segments.enter(segments);
    fill.request(segments, "demand", request.budget);
    return this.#described(request, { fill, segments, isPlanned: true, wasUsedBefore: false }, pinned, undefined);
  }

  /** Once version and size are known: ends the read at the object's end, and requests what `cautiousEnd` left out. */
  async #described(request: BlockRequest, entry: Entry, pinned: PinnedBlock, known: ObjectInfo | undefined): Promise<ObjectRead> {
    const { fill, segments } = entry;
    try {
      const info = known ?? (await untilAborted(fill.description.promise, request.signal));
      const confirming = confirmed(entry, request.signal);
      if (confirming !== undefined) await confirming;
      throwFailure(entry);
      const end = this.#clampedEnd(request, info);
      const pin = pinned.of(info.version);
      const more = this.#missing(request, end, pin, segments);
      if (more.length > 0) {
        fill.segments.enter(more);
        segments.push(...more);
        fill.request(more, "demand", request.budget);
      }
      this.#completeBlock(entry, request, info, pin);
      const result = entry.isPlanned ? "filled" : "joined";
      return new BlockRead(this.#options, request, {
        info: describedBy(request, info),
        end,
        pin: pinned.handOver(),
        filling: { fill, segments },
        result,
      });
    } catch (error) {
      for (const segment of segments) fill.leave(segment, false);
      throw error;
    }
  }

  /**
   * Fetches the rest of the block behind all demand, if reuse is likely: this is the second read of the block that misses, or
   * it reads half of the block.
   */
  #completeBlock(entry: Entry, request: BlockRequest, info: ObjectInfo, pin: BlockPin | undefined): void {
    const { fill: mode, geometry } = this.#options;
    if (mode === "wanted" || !entry.isPlanned) return;
    const count = segmentCount(blockLength(request.blockOffset, info.objectSize, geometry), geometry);
    if (mode === "auto" && !entry.wasUsedBefore && entry.segments.length * 2 < count) return;
    const rest: number[] = [];
    for (let segment = 0; segment < count; segment++) if (pin?.has(segment) !== true) rest.push(segment);
    entry.fill.request(rest, "background");
  }

  #areAllCached({ start }: BlockRequest, end: number, pin: BlockPin): boolean {
    const { geometry } = this.#options;
    const last = segmentOf(end - 1, geometry);
    for (let segment = segmentOf(start, geometry); segment <= last; segment++) if (!pin.has(segment)) return false;
    return true;
  }

  /** Segments from the read's start to `end` that are neither cached nor `entered`. */
  #missing({ start }: BlockRequest, end: number, pin: BlockPin | undefined, entered: readonly number[] = []): number[] {
    const { geometry } = this.#options;
    const last = segmentOf(end - 1, geometry);
    const missing: number[] = [];
    for (let segment = segmentOf(start, geometry); segment <= last; segment++) {
      if (pin?.has(segment) !== true && !entered.includes(segment)) missing.push(segment);
    }
    return missing;
  }

  #clampedEnd({ ref, blockOffset, start, end }: BlockRequest, info: ObjectInfo): number {
    const length = blockLength(blockOffset, info.objectSize, this.#options.geometry);
    if (start >= length) throw outOfRange(ref.url, blockOffset + start, info.objectSize);
    return Math.min(end, length);
  }

  #cautiousEnd({ start, end, openEnded }: BlockRequest): number {
    return openEnded ? Math.min(end, start + this.#options.partBytes) : end;
  }
}

/**
 * The one pin of a read that misses, from its first look at the block until the read takes it over. If the block does not
 * exist yet, or the read turns out to be of another version, the block is pinned when it is looked at again.
 */
export class PinnedBlock {
  readonly #blocks: Pick<BlockOpener, "pin">;
  readonly #request: BlockRequest;
  #pin: BlockPin | undefined;

  /** Takes over `pin`. */
  constructor(blocks: Pick<BlockOpener, "pin">, request: BlockRequest, pin: BlockPin | undefined) {
    this.#blocks = blocks;
    this.#request = request;
    this.#pin = pin;
  }

  /** The pin on the block in this version. */
  of(version: string): BlockPin | undefined {
    if (this.#pin?.id.version !== version) {
      this.#pin?.release();
      this.#pin = this.#blocks.pin(this.#request, version);
    }
    return this.#pin;
  }

  /** The pin, which is the caller's from now on. */
  handOver(): BlockPin | undefined {
    const pin = this.#pin;
    this.#pin = undefined;
    return pin;
  }

  /** Releases the pin unless a read took it over. */
  release(): void {
    this.handOver()?.release();
  }
}

/**
 * The version may have been replaced, whether it was observed here or named by the object's record elsewhere. The origin's answer to
 * the first missing bytes confirms it before any byte is sent, so that a read of the current version can still restart.
 */
function confirmed({ fill, segments }: Entry, signal: AbortSignal): Promise<void> | undefined {
  const first = segments[0]!;
  return fill.has(first) && fill.segments.buffer(first) === undefined ? fill.segments.progress(first, signal) : undefined;
}

/** The first segment may have failed before, while another part's answer described the block. */
function throwFailure({ fill, segments }: Entry): void {
  const failure = fill.segments.failure(segments[0]!);
  if (failure !== undefined) throw failure;
}
