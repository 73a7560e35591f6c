import { setMaxListeners } from "node:events";
import {
  blockLength,
  CacheError,
  type Geometry,
  type ObjectInfo,
  type ObjectRef,
  outOfRange,
  segmentCount,
  segmentOf,
} from "@frontcache/proto";
import type { Origin } from "../origin/origin.js";
import type { Clock } from "../runtime/clock.js";
import { untilAborted } from "../runtime/until-aborted.js";
import type { BlockLease } from "../storage/block.js";
import type { BlockStore, EvictReport, EvictSelector } from "../storage/block-store.js";
import { BlockRead } from "./block-read.js";
import { type CurrentVersionSettings, CurrentVersions } from "./current-versions.js";
import type { Fill } from "./fill.js";
import { FillMemory } from "./fill-memory.js";
import { Fills } from "./fills.js";
import type { ObjectRead, ReadResult } from "./object-read.js";

/** How much of a block is fetched when a reader wants a part of it. */
export type FillMode = "auto" | "whole" | "wanted";

export interface LocalCacheOptions extends CurrentVersionSettings {
  readonly geometry: Geometry;
  readonly origin: Origin;
  readonly store: BlockStore;
  readonly clock: Clock;
  readonly fill: FillMode;
  /** Bytes that a part should have at least, where so much is missing in a row. */
  readonly partBytes: number;
  /** Bytes that running fills may hold in memory. */
  readonly fillMemoryBytes: number;
  /** Parts of one block fetched at a time. */
  readonly fillParallelism: number;
  /** Serve a held version that could not be confirmed because the origin is out of reach. */
  readonly staleIfError: boolean;
}

/** A read of (a part of) one block. */
export interface BlockRequest {
  readonly ref: ObjectRef;
  /** Absent: the current version. */
  readonly version: string | undefined;
  /** Where the block begins in the object. */
  readonly blockOffset: number;
  /** First byte, from the block's beginning. */
  readonly start: number;
  /** One past the last byte, from the block's beginning; it may lie behind the object's end. */
  readonly end: number;
  /** The reader does not know whether the object reaches to `end`: ask for one part before the size is known. */
  readonly openEnded: boolean;
  /** Answer only with what is held: NOT_FOUND otherwise. */
  readonly cachedOnly: boolean;
  readonly signal: AbortSignal;
}

/** A fill that a read has entered, and where. */
interface Entry {
  readonly fill: Fill;
  readonly segments: number[];
  /** Whether the read had to have parts planned. */
  readonly planned: boolean;
  /** Whether some of the block was there or on its way before. */
  readonly touchedBefore: boolean;
}

/** How often an unversioned read starts again because the object changed, or the read that it waited behind gave up. */
const MAX_STARTS = 3;

/** The cache of one member: answers from held blocks, fills what is missing, knows which version is current. */
export class LocalCache {
  readonly #versions: CurrentVersions;
  readonly #memory: FillMemory;
  readonly #fills: Fills;
  readonly #closing = new AbortController();

  constructor(private readonly options: LocalCacheOptions) {
    const { geometry, origin, store, clock, partBytes, fillParallelism } = options;
    // One listener for each part and question under way; the fill memory bounds them.
    setMaxListeners(0, this.#closing.signal);
    this.#versions = new CurrentVersions(options, this.#closing.signal);
    this.#memory = new FillMemory({ budgetBytes: options.fillMemoryBytes, segmentBytes: geometry.segmentBytes });
    const context = { geometry, origin, store, clock, partBytes, parallelism: fillParallelism };
    this.#fills = new Fills({ ...context, memory: this.#memory, signal: this.#closing.signal }, (url, info) =>
      this.#versions.see(url, info),
    );
  }

  /** Opens a read of one block: at once where all of it is held, else as soon as version and size are known. */
  open(request: BlockRequest): ObjectRead | Promise<ObjectRead> {
    const version = request.version ?? this.#versions.fresh(request.ref.url)?.version;
    const hit = version === undefined ? undefined : this.#hit(request, version, "hit");
    return hit ?? this.#openSlowly(request);
  }

  /** What is known of an object, asking the origin where that is not fresh enough. */
  async stat(ref: ObjectRef, version: string | undefined, signal: AbortSignal): Promise<ObjectInfo> {
    if (version === undefined) {
      const fresh = this.#versions.fresh(ref.url);
      return fresh ?? (await untilAborted(this.#versions.ask(ref), signal).catch((error) => this.#staleInfo(ref.url, error)));
    }
    const known = this.#infoOf(ref.url, version);
    if (known !== undefined) return known;
    const current = await untilAborted(this.#versions.ask(ref), signal);
    if (current.version !== version) throw otherVersion(ref.url, version);
    return current;
  }

  evict(selector: EvictSelector): Promise<EvictReport> {
    return this.options.store.evict(selector);
  }

  /** Bytes held here of one version of an object. */
  heldBytes(url: string, version: string): number {
    return this.options.store.heldBytes(url, version);
  }

  /** Fills running and what they hold, for metrics and for checking that nothing is left at rest. */
  status(): { fills: number; fillMemoryBytes: number; waitingParts: number } {
    return { fills: this.#fills.running, fillMemoryBytes: this.#memory.usedBytes, waitingParts: this.#memory.waiting };
  }

  /** Resolves when no fill runs. */
  settled(): Promise<void> {
    return this.#fills.settled();
  }

  /** Cuts running fills short and waits for them. Reads that still wait end with CANCELLED. */
  async close(): Promise<void> {
    this.#closing.abort(new CacheError("CANCELLED", "the member is closing"));
    await this.#fills.settled();
  }

  async #openSlowly(request: BlockRequest): Promise<ObjectRead> {
    if (request.cachedOnly) throw notHeld(request);
    for (let starts = 1; ; starts++) {
      try {
        return await (request.version === undefined ? this.#openCurrent(request) : this.#openVersion(request, request.version));
      } catch (error) {
        const failure = CacheError.from(error);
        if (failure.code === "NOT_FOUND") this.#versions.seeMissing(request.ref.url);
        const again = failure.code === "FAILED_PRECONDITION" || (failure.code === "CANCELLED" && !this.#closing.signal.aborted);
        if (!again || request.version !== undefined || request.signal.aborted || starts === MAX_STARTS) throw failure;
      }
    }
  }

  /** A miss of a known version. While a discovery runs for this very block, its answer may bring what is wanted. */
  async #openVersion(request: BlockRequest, version: string): Promise<ObjectRead> {
    const discovery = this.#fills.discovery(request.ref.url);
    if (discovery?.target.blockOffset === request.blockOffset) {
      await untilAborted(
        discovery.description.catch(() => {}),
        request.signal,
      );
    }
    return this.#readFilling(request, version);
  }

  /**
   * A read of whatever is current. In this order: a version seen recently; the answer that another read is waiting for; a
   * question without bytes, where some of the block is here or on its way; else the first fetch of bytes tells the version.
   */
  async #openCurrent(request: BlockRequest): Promise<ObjectRead> {
    const { ref, blockOffset, signal } = request;
    const last = this.#lastSeen(ref.url);
    const fresh = this.#versions.fresh(ref.url);
    if (fresh !== undefined) return this.#readFilling(request, fresh.version);
    const discovery = this.#fills.discovery(ref.url);
    if (discovery !== undefined) {
      const info = await untilAborted(discovery.description.catch(unlessOutOfRange), signal);
      return info === undefined ? this.#openCurrent(request) : this.#readFilling(request, info.version);
    }
    const lease = last === undefined ? undefined : this.#lease(request, last.version);
    lease?.release();
    if (lease === undefined && !this.#fills.fillsAnyVersion(ref.url, blockOffset)) return this.#discover(request);
    const held = last !== undefined && this.#holdsAll(request, last);
    const stale = held && this.#versions.wasUnaskable(ref.url) ? this.#hit(request, last.version, "stale") : undefined;
    if (stale !== undefined && this.options.staleIfError) return stale;
    stale?.close();
    try {
      const info = await untilAborted(this.#versions.ask(ref), signal);
      return await this.#readFilling(request, info.version);
    } catch (error) {
      const served = held && this.#mayServeStale(error) ? this.#hit(request, last.version, "stale") : undefined;
      if (served === undefined) throw error;
      return served;
    }
  }

  /** Fetches the wanted bytes unconditionally; the answer's head tells the version. */
  #discover(request: BlockRequest): Promise<ObjectRead> {
    const fill = this.#fills.discover(request.ref, request.blockOffset);
    const segments = this.#missing(request, this.#cautiousEnd(request), undefined);
    fill.enter(segments);
    fill.want(segments, "demand");
    return this.#described(request, { fill, segments, planned: true, touchedBefore: false }, fill.description);
  }

  /** The block of one version: from what is held and a fill of the rest. */
  async #readFilling(request: BlockRequest, version: string): Promise<ObjectRead> {
    const hit = this.#hit(request, version, "hit");
    if (hit !== undefined) return hit;
    const { ref, blockOffset } = request;
    const lease = this.#lease(request, version);
    lease?.release();
    const known = lease?.info ?? this.#infoOf(ref.url, version) ?? this.#fills.find(ref.url, version, blockOffset)?.info;
    const end = known === undefined ? this.#cautiousEnd(request) : this.#clampedEnd(request, known);
    const missing = this.#missing(request, end, lease);
    const fill = this.#fills.open(ref, version, blockOffset);
    const touchedBefore = lease !== undefined || fill.busy;
    fill.enter(missing);
    const planned = fill.want(missing, "demand");
    return this.#described(request, { fill, segments: missing, planned, touchedBefore }, known ?? fill.description);
  }

  /** Once version and size are known: shortens the read to the object's end, wants what caution had left out. */
  async #described(request: BlockRequest, entry: Entry, description: ObjectInfo | Promise<ObjectInfo>): Promise<ObjectRead> {
    const { fill, segments } = entry;
    try {
      const info = description instanceof Promise ? await untilAborted(description, request.signal) : description;
      if (request.version === undefined) await this.#confirmed(entry, request.signal);
      const end = this.#clampedEnd(request, info);
      const lease = this.#lease(request, info.version);
      const more = this.#missing(request, end, lease).filter((segment) => !segments.includes(segment));
      fill.enter(more);
      segments.push(...more);
      fill.want(more, "demand");
      this.#completeBlock(entry, request, info, lease);
      const result: ReadResult = entry.planned ? "filled" : "joined";
      return this.#blockRead(request, info, end, lease, { fill, segments }, result);
    } catch (error) {
      for (const segment of segments) fill.leave(segment, false);
      const version = fill.info?.version ?? fill.target.version;
      if (CacheError.from(error).code === "FAILED_PRECONDITION" && version !== undefined) {
        this.#versions.forget(request.ref.url, version);
      }
      throw error;
    }
  }

  /**
   * What is believed to be current may have been replaced: the origin's answer to the first missing bytes confirms it before
   * any byte goes out, so that the read can still start again.
   */
  async #confirmed({ fill, segments }: Entry, signal: AbortSignal): Promise<void> {
    const first = segments[0]!;
    if (fill.has(first) && fill.buffer(first) === undefined) await fill.progress(first, signal);
  }

  /**
   * Has the rest of the block fetched behind all demand, where the block proves worth it: a second read misses it elsewhere,
   * or this one wants half of it.
   */
  #completeBlock(entry: Entry, request: BlockRequest, info: ObjectInfo, lease: BlockLease | undefined): void {
    const { fill: mode, geometry } = this.options;
    if (mode === "wanted" || !entry.planned) return;
    const count = segmentCount(blockLength(request.blockOffset, info.objectSize, geometry), geometry);
    if (mode === "auto" && !entry.touchedBefore && entry.segments.length * 2 < count) return;
    const rest: number[] = [];
    for (let segment = 0; segment < count; segment++) if (lease?.holds(segment) !== true) rest.push(segment);
    entry.fill.want(rest, "background");
  }

  /** A read of held bytes alone; undefined where some are missing. Throws OUT_OF_RANGE where the block is known to end before. */
  #hit(request: BlockRequest, version: string, result: ReadResult): BlockRead | undefined {
    const lease = this.#lease(request, version);
    if (lease === undefined) return undefined;
    try {
      const end = this.#clampedEnd(request, lease.info);
      const { geometry } = this.options;
      const last = segmentOf(end - 1, geometry);
      let segment = segmentOf(request.start, geometry);
      while (segment <= last && lease.holds(segment)) segment++;
      if (segment > last) return this.#blockRead(request, lease.info, end, lease, undefined, result);
    } catch (error) {
      lease.release();
      throw error;
    }
    lease.release();
    return undefined;
  }

  #blockRead(
    request: BlockRequest,
    info: ObjectInfo,
    end: number,
    lease: BlockLease | undefined,
    filling: { fill: Fill; segments: readonly number[] } | undefined,
    result: ReadResult,
  ): BlockRead {
    const { geometry, store } = this.options;
    const { ref, blockOffset, start, signal } = request;
    return new BlockRead({
      geometry,
      store,
      fills: this.#fills,
      ref,
      info,
      blockOffset,
      start,
      end,
      lease,
      filling,
      result,
      signal,
    });
  }

  #lease({ ref, blockOffset }: BlockRequest, version: string): BlockLease | undefined {
    return this.options.store.lease({ url: ref.url, version, offset: blockOffset });
  }

  /** Whether all that is wanted is held of a version, which may be an old one that does not even reach that far. */
  #holdsAll(request: BlockRequest, { version, objectSize }: ObjectInfo): boolean {
    if (request.blockOffset + request.start >= objectSize) return false;
    const hit = this.#hit(request, version, "hit");
    hit?.close();
    return hit !== undefined;
  }

  /** Segments from the read's start to `end` that are not held. */
  #missing(request: BlockRequest, end: number, lease: BlockLease | undefined): number[] {
    const { geometry } = this.options;
    const missing: number[] = [];
    for (let segment = segmentOf(request.start, geometry); segment <= segmentOf(end - 1, geometry); segment++) {
      if (lease?.holds(segment) !== true) missing.push(segment);
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

  #infoOf(url: string, version: string): ObjectInfo | undefined {
    const last = this.#lastSeen(url);
    return last?.version === version ? last : undefined;
  }

  /** The version seen last; after a restart, the one of the newest block that is held. */
  #lastSeen(url: string): ObjectInfo | undefined {
    const last = this.#versions.last(url);
    if (last !== undefined) return last;
    const newest = this.options.store.newest(url);
    if (newest !== undefined) this.#versions.see(url, newest.info, newest.createdAtMs);
    return newest?.info;
  }

  #mayServeStale(error: unknown): boolean {
    return this.options.staleIfError && CacheError.from(error).retryable;
  }

  #staleInfo(url: string, error: unknown): ObjectInfo {
    const last = this.#mayServeStale(error) ? this.#lastSeen(url) : undefined;
    if (last === undefined) throw error;
    return last;
  }
}

/** Another reader's range lay behind the object's end; this one's may not. */
function unlessOutOfRange(error: CacheError): undefined {
  if (error.code !== "OUT_OF_RANGE") throw error;
}

function notHeld({ ref, blockOffset, start }: BlockRequest): CacheError {
  return new CacheError("NOT_FOUND", `${ref.url}: the bytes at offset ${blockOffset + start} are not held here`);
}

function otherVersion(url: string, version: string): CacheError {
  return new CacheError(
    "FAILED_PRECONDITION",
    `${url}: the object is not of version ${version}, read it without a version to get the current one`,
  );
}
