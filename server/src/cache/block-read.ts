import { CacheError, type Geometry, type ObjectInfo, type ObjectRef, segmentOf } from "@frontcache/proto";
import { LinkedAbort, untilAborted } from "@frontcache/proto/runtime";
import type { Slice } from "../runtime/slice.js";
import type { BlockPin } from "../storage/block.js";
import type { BlockStore } from "../storage/block-store.js";
import { notCached } from "./block-request.js";
import type { Fill } from "./fill/fill.js";
import type { Fills } from "./fill/fills.js";
import type { ObjectRead, ReadResult } from "./object-read.js";

export interface BlockReadOptions {
  readonly geometry: Geometry;
  readonly store: Pick<BlockStore, "pin">;
  readonly fills: Pick<Fills, "open" | "discovering">;
  readonly ref: ObjectRef;
  readonly info: ObjectInfo;
  /** Where the block begins in the object. */
  readonly blockOffset: number;
  /** First byte, from the block's beginning. */
  readonly start: number;
  /** One past the last byte, from the block's beginning; inside the object. */
  readonly end: number;
  /** The pin on what is held, where something is. The read releases it. */
  readonly pin: BlockPin | undefined;
  /** The fill of the rest, and the segments entered there. The read leaves them. */
  readonly filling: { readonly fill: Fill; readonly segments: readonly number[] } | undefined;
  readonly result: ReadResult;
  /** What goes while it is read is not filled again: the read fails with NOT_FOUND. */
  readonly cachedOnly: boolean;
  readonly signal: AbortSignal;
}

/** How often in a row a segment is asked for without a byte of it coming: evicted, damaged, dropped for want of memory. */
const MAX_ASKS = 4;

/** A read of one block: from the fill's memory while it is there, else from the block file; what went meanwhile is filled again. */
export class BlockRead implements ObjectRead {
  readonly info: ObjectInfo;
  readonly offset: number;
  readonly length: number;
  readonly result: ReadResult;
  #position: number;
  #closed = false;
  #pin: BlockPin | undefined;
  #fill: Fill | undefined;
  /** Segments entered at the fill and not left yet. */
  readonly #entered: Set<number>;
  /** The entered segment that this read is at. */
  #arrived: number | undefined;
  #asks = 0;
  #stopping: LinkedAbort | undefined;

  constructor(private readonly options: BlockReadOptions) {
    this.info = options.info;
    this.offset = options.blockOffset + options.start;
    this.length = options.end - options.start;
    this.result = options.result;
    this.#position = options.start;
    this.#pin = options.pin;
    this.#fill = options.filling?.fill;
    this.#entered = new Set(options.filling?.segments);
  }

  next(): Slice | undefined | Promise<Slice | undefined> {
    if (this.#closed || this.#position >= this.options.end) return undefined;
    const found = this.#look();
    if (found === undefined || found instanceof Promise) return this.#seek(found);
    return this.#advance(found);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#stopping?.abort(new CacheError("CANCELLED", "the read was closed"));
    this.#pin?.release();
    this.#pin = undefined;
    for (const segment of this.#entered) this.#leave(segment);
  }

  /** The bytes at the position: at once, or from the disk, or undefined where they are neither in memory nor held. */
  #look(): Slice | Promise<Slice | undefined> | undefined {
    const { geometry, end } = this.options;
    const segment = segmentOf(this.#position, geometry);
    const buffer = this.#fill?.buffer(segment);
    if (buffer !== undefined) {
      if (this.#entered.has(segment)) this.#arrive(segment);
      const segmentStart = segment * geometry.segmentBytes;
      const available = Math.min(buffer.filled, end - segmentStart);
      const from = this.#position - segmentStart;
      return available > from ? buffer.slice(from, available) : undefined;
    }
    return this.#pin?.has(segment) === true ? this.#pin.read(this.#position, end) : undefined;
  }

  /** The slow way: waits for the disk or for a fill, and asks for a fill where none has the segment. */
  async #seek(first: Promise<Slice | undefined> | undefined): Promise<Slice | undefined> {
    let found = await first;
    while (found === undefined && !this.#closed) {
      await this.#wait(segmentOf(this.#position, this.options.geometry));
      found = await this.#look();
    }
    if (!this.#closed) return this.#advance(found!);
    found?.release();
    return undefined;
  }

  async #wait(segment: number): Promise<void> {
    if (this.#fill?.has(segment) === true && this.#entered.has(segment)) {
      this.#arrive(segment);
      // Its bytes may have come while the disk was asked in vain.
      if (!this.#isInMemory(segment)) await this.#fill.progress(segment, this.#stopSignal());
      return;
    }
    const failure = this.#entered.has(segment) ? this.#fill?.failure(segment) : undefined;
    if (failure !== undefined) throw failure;
    if (this.#renewPin(segment)) return;
    const { fills, ref, blockOffset, cachedOnly } = this.options;
    if (cachedOnly) throw notCached(ref, blockOffset + this.#position);
    const discovering = fills.discovering(ref.url, blockOffset);
    if (discovering === undefined) this.#ask(segment);
    else await untilAborted(discovering, this.#stopSignal());
  }

  /** Whether the fill has bytes of the segment from the position on. */
  #isInMemory(segment: number): boolean {
    const filled = this.#fill?.buffer(segment)?.filled ?? 0;
    return segment * this.options.geometry.segmentBytes + filled > this.#position;
  }

  /** Takes a pin on the block as it is now, where it holds the segment and the pin that this read had does not. */
  #renewPin(segment: number): boolean {
    if (this.#pin?.has(segment) === true) return false;
    const { store, ref, info, blockOffset } = this.options;
    const pin = store.pin({ url: ref.url, version: info.version, offset: blockOffset });
    if (pin?.has(segment) !== true) {
      pin?.release();
      return false;
    }
    this.#pin?.release();
    this.#pin = pin;
    return true;
  }

  /** Wants this segment and those after it that are missing, of the running fill or a new one. */
  #ask(segment: number): void {
    const { fills, ref, info, blockOffset, geometry, end } = this.options;
    if (this.#asks++ === MAX_ASKS) {
      throw new CacheError(
        "UNAVAILABLE",
        `${ref.url}: offset ${blockOffset + this.#position} could not be kept in memory, try again`,
      );
    }
    for (const entered of this.#entered) this.#leave(entered);
    const missing: number[] = [];
    for (let at = segment; at <= segmentOf(end - 1, geometry); at++)
      if (this.#pin?.has(at) !== true || at === segment) missing.push(at);
    this.#fill = fills.open(ref, info.version, blockOffset);
    this.#fill.enter(missing);
    for (const at of missing) this.#entered.add(at);
    this.#arrive(segment);
    this.#fill.want(missing, "demand");
  }

  #advance(slice: Slice): Slice {
    this.#position += slice.bytes.length;
    this.#asks = 0;
    if (this.#entered.size === 0) return slice;
    const { end, geometry } = this.options;
    const now = this.#position >= end ? Number.POSITIVE_INFINITY : segmentOf(this.#position, geometry);
    for (const segment of this.#entered) if (segment < now) this.#leave(segment);
    return slice;
  }

  #arrive(segment: number): void {
    if (this.#arrived === segment) return;
    this.#arrived = segment;
    this.#fill!.arrive(segment);
  }

  #leave(segment: number): void {
    this.#entered.delete(segment);
    const arrived = this.#arrived === segment;
    if (arrived) this.#arrived = undefined;
    this.#fill!.leave(segment, arrived);
  }

  /** Made only for reads that wait: hits should not pay for it. */
  #stopSignal(): AbortSignal {
    if (this.#stopping === undefined) {
      this.#stopping = new LinkedAbort(this.options.signal);
    }
    return this.#stopping.signal;
  }
}
