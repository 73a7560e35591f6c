import { CacheError, type Geometry, type ObjectInfo, type ObjectRef, segmentOf } from "@frontcache/proto";
import { LinkedAbort, untilAborted } from "@frontcache/proto/runtime";
import type { Slice } from "../runtime/slice.js";
import type { BlockPin } from "../storage/block.js";
import type { BlockStore } from "../storage/block-store.js";
import { type BlockRequest, notCached } from "./block-request.js";
import type { Fill } from "./fill/fill.js";
import type { Fills } from "./fill/fills.js";
import type { ObjectRead, ReadResult } from "./object-read.js";
import type { ObjectRecords } from "./object-records.js";

/** What all reads of blocks share. */
export interface BlockReadContext {
  readonly geometry: Geometry;
  readonly store: Pick<BlockStore, "pin">;
  readonly fills: Pick<Fills, "open" | "discovering">;
  readonly records: Pick<ObjectRecords, "ageOf">;
  /**
   * Awaited before a read fails because the origin has another version than the read's, or none: the client then knows of it. An error
   * counts as done. Absent: the read fails at once.
   */
  readonly outdated?: ((ref: ObjectRef, version: string, signal: AbortSignal) => Promise<void>) | undefined;
}

/** What is known when a read is opened. */
export interface OpenedBlock {
  readonly info: ObjectInfo;
  /** One past the last byte, from the block's beginning; inside the object. */
  readonly end: number;
  /** The pin on the cached segments. The read releases it. */
  readonly pin: BlockPin | undefined;
  /** The fill of the missing segments, and the segments entered there. The read leaves them. */
  readonly filling: { readonly fill: Fill; readonly segments: readonly number[] } | undefined;
  readonly result: ReadResult;
}

/** Why a wait ends with its read. Made once: most reads that miss are closed after a wait. */
const CLOSED = new CacheError("CANCELLED", "the read was closed");

/** How often in a row a segment is requested without a byte of it arriving: evicted, damaged, or dropped for lack of memory. */
const MAX_REQUESTS = 4;

/** A read of one block: from the fill's memory while the segment is there, else from the block file. Segments that are lost meanwhile are filled again. */
export class BlockRead implements ObjectRead {
  readonly info: ObjectInfo;
  readonly offset: number;
  readonly length: number;
  readonly result: ReadResult;
  readonly #context: BlockReadContext;
  readonly #request: BlockRequest;
  readonly #end: number;
  #position: number;
  #closed = false;
  #pin: BlockPin | undefined;
  #fill: Fill | undefined;
  /** Segments entered at the fill and not left yet. Undefined: none was ever entered, as in a read of cached bytes. */
  #entered: Set<number> | undefined;
  /** The entered segment that this read is at. */
  #arrived: number | undefined;
  #requests = 0;
  #stopping: LinkedAbort | undefined;

  constructor(context: BlockReadContext, request: BlockRequest, { info, end, pin, filling, result }: OpenedBlock) {
    this.#context = context;
    this.#request = request;
    this.#end = end;
    this.info = info;
    this.offset = request.blockOffset + request.start;
    this.length = end - request.start;
    this.result = result;
    this.#position = request.start;
    this.#pin = pin;
    this.#fill = filling?.fill;
    if (filling !== undefined) this.#entered = new Set(filling.segments);
  }

  get ageMs(): number | undefined {
    return this.#context.records.ageOf(this.#request.ref.url, this.info.version);
  }

  next(): Slice | undefined | Promise<Slice | undefined> {
    if (this.#closed || this.#position >= this.#end) return undefined;
    const found = this.#look();
    if (found === undefined || found instanceof Promise) return this.#seek(found);
    return this.#advance(found);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#stopping?.abort(CLOSED);
    this.#pin?.release();
    this.#pin = undefined;
    this.#leaveBefore(Number.POSITIVE_INFINITY);
  }

  /** The bytes at the position: immediately, or from the disk. Undefined: they are neither in memory nor cached. */
  #look(): Slice | Promise<Slice | undefined> | undefined {
    const { geometry } = this.#context;
    const segment = segmentOf(this.#position, geometry);
    const buffer = this.#fill?.segments.buffer(segment);
    if (buffer !== undefined) {
      if (this.#entered?.has(segment) === true) this.#arrive(segment);
      const segmentStart = segment * geometry.segmentBytes;
      const available = Math.min(buffer.filled, this.#end - segmentStart);
      const from = this.#position - segmentStart;
      return available > from ? buffer.slice(from, available) : undefined;
    }
    return this.#pin?.has(segment) === true ? this.#pin.read(this.#position, this.#end) : undefined;
  }

  /** Waits for the disk or for a fill, and requests the segment if no fill has it. */
  async #seek(first: Promise<Slice | undefined> | undefined): Promise<Slice | undefined> {
    let found: Slice | undefined;
    try {
      found = await first;
      while (found === undefined && !this.#closed) {
        await this.#wait(segmentOf(this.#position, this.#context.geometry));
        found = await this.#look();
      }
    } catch (error) {
      if (isOutdated(error) && !this.#request.cachedOnly && !this.#closed) await this.#reportOutdated();
      throw error;
    }
    if (!this.#closed) return this.#advance(found!);
    found?.release();
    return undefined;
  }

  async #reportOutdated(): Promise<void> {
    const { outdated } = this.#context;
    await outdated?.(this.#request.ref, this.info.version, this.#stopSignal()).catch(() => {});
  }

  async #wait(segment: number): Promise<void> {
    if (this.#fill?.has(segment) === true && this.#entered?.has(segment) === true) {
      this.#arrive(segment);
      // Its bytes may have arrived while a read of the file failed.
      if (!this.#isInMemory(segment)) await this.#fill.segments.progress(segment, this.#stopSignal());
      return;
    }
    const failure = this.#entered?.has(segment) === true ? this.#fill?.segments.failure(segment) : undefined;
    if (failure !== undefined) throw failure;
    if (this.#renewPin(segment)) return;
    const { ref, blockOffset, cachedOnly } = this.#request;
    if (cachedOnly) throw notCached(ref, blockOffset + this.#position);
    const discovering = this.#context.fills.discovering(ref.url, blockOffset, this.info.version);
    if (discovering === undefined) this.#requestRest(segment);
    else await untilAborted(discovering, this.#stopSignal());
  }

  /** Whether the fill has bytes of the segment from the position on. */
  #isInMemory(segment: number): boolean {
    const filled = this.#fill?.segments.buffer(segment)?.filled ?? 0;
    return segment * this.#context.geometry.segmentBytes + filled > this.#position;
  }

  /** Pins the block as it is now, if it has the segment and the pin of this read does not: the block was filled or written anew. */
  #renewPin(segment: number): boolean {
    if (this.#pin?.has(segment) === true) return false;
    const { ref, blockOffset } = this.#request;
    const pin = this.#context.store.pin({ url: ref.url, version: this.info.version, offset: blockOffset });
    if (pin?.has(segment) !== true) {
      pin?.release();
      return false;
    }
    this.#pin?.release();
    this.#pin = pin;
    return true;
  }

  /** Requests this segment and the missing ones after it, from the running fill or a new one. */
  #requestRest(segment: number): void {
    const { geometry, fills } = this.#context;
    const { ref, blockOffset } = this.#request;
    if (this.#requests++ === MAX_REQUESTS) {
      throw new CacheError(
        "UNAVAILABLE",
        `${ref.url}: offset ${blockOffset + this.#position} could not be kept in memory, try again`,
      );
    }
    this.#leaveBefore(Number.POSITIVE_INFINITY);
    const missing: number[] = [];
    for (let at = segment; at <= segmentOf(this.#end - 1, geometry); at++)
      if (this.#pin?.has(at) !== true || at === segment) missing.push(at);
    this.#fill = fills.open(ref, this.info.version, blockOffset);
    this.#fill.segments.enter(missing);
    this.#entered ??= new Set();
    for (const at of missing) this.#entered.add(at);
    this.#arrive(segment);
    this.#fill.request(missing, "demand", this.#request.budget);
  }

  #advance(slice: Slice): Slice {
    this.#position += slice.bytes.length;
    this.#requests = 0;
    if (this.#entered === undefined || this.#entered.size === 0) return slice;
    const { geometry } = this.#context;
    const now = this.#position >= this.#end ? Number.POSITIVE_INFINITY : segmentOf(this.#position, geometry);
    this.#leaveBefore(now);
    return slice;
  }

  #leaveBefore(next: number): void {
    if (this.#entered === undefined) return;
    for (const segment of this.#entered) if (segment < next) this.#leave(segment);
  }

  #arrive(segment: number): void {
    if (this.#arrived === segment) return;
    this.#arrived = segment;
    this.#fill!.segments.arrive(segment);
  }

  #leave(segment: number): void {
    this.#entered!.delete(segment);
    const arrived = this.#arrived === segment;
    if (arrived) this.#arrived = undefined;
    this.#fill!.leave(segment, arrived);
  }

  /** Aborted by `close`, too. Made only for reads that wait, so that hits do not pay for it. */
  #stopSignal(): AbortSignal {
    this.#stopping ??= new LinkedAbort(this.#request.signal);
    return this.#stopping.signal;
  }
}

/**
 * Whether the origin has another version than the requested one, or none any more. Absence counts, too:
 * 1. The object is deleted. Its home still answers with v1, because its record is fresh.
 * 2. A read of v1 misses block 2. The origin answers 404, and the client learns that the object is gone.
 * 3. If that were not reported to the home, the next `stat` would return v1 again.
 */
export function isOutdated(error: unknown): boolean {
  const { code } = CacheError.from(error);
  return code === "FAILED_PRECONDITION" || code === "NOT_FOUND";
}
