import { setMaxListeners } from "node:events";
import { type BlockId, CacheError, type Geometry, type LackingHeaders, type ObjectInfo, type ObjectRef } from "@frontcache/proto";
import { untilAborted } from "@frontcache/proto/runtime";
import type { OriginStates } from "../origin/availability.js";
import type {
  BucketInfo,
  BucketList,
  BucketQuestion,
  BucketsQuestion,
  Listing,
  ListQuestion,
  Origin,
  PassedAnswer,
  PassQuestion,
} from "../origin/origin.js";
import { type RequestBudget, requestBudget } from "../origin/request-budget.js";
import type { Clock } from "../runtime/clock.js";
import type { BlockPin } from "../storage/block.js";
import type { BlockStore, EvictReport, EvictSelector } from "../storage/block-store.js";
import { BlockOpener, type FillMode, PinnedBlock } from "./block-opener.js";
import type { BlockReadContext } from "./block-read.js";
import { type BlockRequest, budgeted, notCached } from "./block-request.js";
import { BlockWarmer, type WarmedBlock, type WarmRequest } from "./block-warmer.js";
import { FillMemory } from "./fill/fill-memory.js";
import { Fills } from "./fill/fills.js";
import { type BudgetedBlock, RecentBudgets } from "./fill/recent-budgets.js";
import { type CurrentOptions, type CurrentRecord, Freshness, type FreshnessSettings } from "./freshness.js";
import type { ObjectRead } from "./object-read.js";
import { ObjectRecords, type ObjectRecordsOptions } from "./object-records.js";

export interface LocalCacheOptions extends FreshnessSettings, Pick<ObjectRecordsOptions, "onChange"> {
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
  /** As `BlockReadContext.outdated`. */
  readonly outdated?: BlockReadContext["outdated"];
  /** What to expect of each origin. Undefined: an answer. */
  readonly originStates?: OriginStates | undefined;
}

/** How often an unversioned read restarts because the object changed, or because the read that it waited for was cancelled. */
const MAX_STARTS = 3;

/** How long a question about an object waits for headers that only the origin knows. */
const COMPLETED_WITHIN_MS = 1_000;

/** The cache of one member. It decides which version a read is of. BlockOpener reads that version's bytes. */
export class LocalCache {
  /** What the origin last answered about each object. */
  readonly records: ObjectRecords;
  /** Which version of an object is current, as fresh as the settings demand. */
  readonly freshness: Freshness;
  readonly #options: LocalCacheOptions;
  readonly #memory: FillMemory;
  readonly #budgets: RecentBudgets;
  readonly #fills: Fills;
  readonly #blocks: BlockOpener;
  readonly #warmer: BlockWarmer;
  readonly #closing = new AbortController();

  constructor(options: LocalCacheOptions) {
    this.#options = options;
    const { geometry, origin, store, clock, partBytes, fillMemoryBytes, fillParallelism } = options;
    const { signal } = this.#closing;
    // Each running request to the origin may add a listener. The fill memory bounds their number.
    setMaxListeners(0, signal);
    this.records = new ObjectRecords(options);
    this.freshness = new Freshness({ ...options, records: this.records }, signal);
    this.#memory = new FillMemory({ budgetBytes: fillMemoryBytes, segmentBytes: geometry.segmentBytes });
    const { records } = this;
    const memory = this.#memory;
    this.#budgets = new RecentBudgets(clock);
    this.#fills = new Fills({
      geometry,
      origin,
      store,
      records,
      memory,
      budgets: this.#budgets,
      clock,
      partBytes,
      parallelism: fillParallelism,
      signal,
    });
    const { fill, outdated } = options;
    this.#blocks = new BlockOpener({ geometry, store, fills: this.#fills, records, outdated, fill, partBytes });
    this.#warmer = new BlockWarmer({ geometry, store, fills: this.#fills });
  }

  /** Opens a read of one block: immediately if the range is cached, else as soon as version and size are known. */
  open(request: BlockRequest): ObjectRead | Promise<ObjectRead> {
    const { ref, cachedOnly } = request;
    const version = request.version ?? (cachedOnly ? this.records.last(ref.url) : this.freshness.fresh(ref.url))?.version;
    const stale = version === undefined && !cachedOnly ? this.freshness.staleAtOnce(ref) : undefined;
    const pinned = version ?? stale?.version;
    const pin = pinned === undefined ? undefined : this.#blocks.pin(request, pinned);
    if (stale !== undefined && !this.#blocks.isCached(request, stale, pin)) return this.#openMissing(request, pin);
    const hit = pin && this.#blocks.cached(request, pin, stale === undefined ? "hit" : "stale");
    if (hit !== undefined && stale !== undefined) this.freshness.servedStale();
    return hit ?? this.#openMissing(request, pin);
  }

  /**
   * The object's current record, as fresh as the settings demand. Asks the origin if it lacks what `needs` says; if the origin
   * cannot be asked, the record may lack it. `notBeforeMs` (monotonic): what the origin answered to earlier requests does not count.
   */
  async current(
    ref: ObjectRef,
    signal: AbortSignal,
    { needs = "version", notBeforeMs, hasFallback, budget }: CurrentOptions & { needs?: Needs | undefined } = {},
  ): Promise<CurrentRecord> {
    const { info, isStale } = await this.freshness.current(ref, signal, { notBeforeMs, hasFallback, budget });
    if (!lacks(info, needs)) return { info, isStale };
    return { info: (await this.freshness.confirmed(ref, signal, COMPLETED_WITHIN_MS)) ?? info, isStale };
  }

  /**
   * What is known of an object. Asks the origin if that is not fresh enough, or if it lacks what `needs` says. If the origin cannot
   * be asked, the answer may lack it.
   */
  async stat(ref: ObjectRef, version: string | undefined, signal: AbortSignal, needs: Needs = "version"): Promise<ObjectInfo> {
    const known = version === undefined ? this.freshness.fresh(ref.url) : this.records.infoOf(ref.url, version);
    if (known !== undefined && !lacks(known, needs)) return known;
    if (known !== undefined) {
      const current = (await this.freshness.confirmed(ref, signal, COMPLETED_WITHIN_MS)) ?? known;
      if (version !== undefined && current.version !== version) throw otherVersion(ref.url, version);
      return current;
    }
    // Whether another version than the known one is current, only a new answer can say.
    const asked = version === undefined ? {} : { hasFallback: false, notBeforeMs: this.#options.clock.monotonicMs() };
    const { info } = await this.freshness.current(ref, signal, asked);
    if (version !== undefined && info.version !== version) throw otherVersion(ref.url, version);
    return info;
  }

  /** Passed on to the origin: listings are not cached. */
  list(question: ListQuestion): Promise<Listing> {
    return this.#options.origin.ask(question);
  }

  /** Passed on to the origin, too. */
  statBucket(question: BucketQuestion): Promise<BucketInfo> {
    return this.#options.origin.ask(question);
  }

  /** Passed on to the origins. */
  listBuckets(question: BucketsQuestion): Promise<BucketList> {
    return this.#options.origin.ask(question);
  }

  /** The origin's own answer, which is not cached. */
  pass(question: PassQuestion): Promise<PassedAnswer> {
    return this.#options.origin.ask(question);
  }

  /** Caches a whole block. If the object changed since its version was observed, the current version is looked up again. */
  async warm(request: WarmRequest): Promise<WarmedBlock> {
    const { ref, version, objectSize, signal } = request;
    for (let starts = 1; ; starts++) {
      const isKnown = version !== undefined && objectSize !== undefined;
      const info = isKnown ? { version, objectSize } : await this.stat(ref, version, signal);
      const discovering = (): Promise<void> | undefined => this.#discovering(request, info.version);
      if (!request.dryRun) for (let d = discovering(); d !== undefined; d = discovering()) await d;
      try {
        return await this.#warmer.warm(request, info);
      } catch (error) {
        if (CacheError.from(error).code !== "FAILED_PRECONDITION") throw error;
        if (version !== undefined || starts === MAX_STARTS) throw error;
      }
    }
  }

  /** Evicts blocks, discards running fills, and forgets which versions are current. */
  evict(selector: EvictSelector): Promise<EvictReport> {
    this.#fills.discard(selector);
    this.records.invalidate(selector);
    return this.#options.store.evict(selector);
  }

  /** Bytes cached here of one version of an object. */
  cachedBytes(url: string, version: string): number {
    return this.#options.store.cachedBytes(url, version);
  }

  /** Records reads of block files that clients on this host made without the member. Returns how many of the blocks are cached. */
  recordUses(blocks: readonly BlockId[]): number {
    return blocks.reduce((cached, block) => cached + Number(this.#options.store.recordUse(block)), 0);
  }

  /** Running fills and their memory, for metrics and for tests that nothing is left. */
  status(): { fills: number; fillMemoryBytes: number; waitingParts: number } {
    return { fills: this.#fills.running, fillMemoryBytes: this.#memory.usedBytes, waitingParts: this.#memory.waiting };
  }

  /** Resolves when no fill runs. */
  settled(): Promise<void> {
    return this.#fills.settled();
  }

  /** Aborts running fills and waits for them. Waiting reads end with CANCELLED. */
  async close(): Promise<void> {
    this.#closing.abort(new CacheError("CANCELLED", "the member is closing"));
    await this.#fills.settled();
  }

  /** The budget of the requests to the origin for a block that is fetched, or was fetched a moment ago and failed. */
  recentBudget(block: BudgetedBlock): RequestBudget | undefined {
    return this.#budgets.find(block);
  }

  /** Opens a read that misses. Takes over `pin`. */
  async #openMissing(opened: BlockRequest, pin: BlockPin | undefined): Promise<ObjectRead> {
    // One budget for all that is asked of the origin, however often the read restarts.
    const before = opened.isRepeated === true ? this.#budgets.find(opened) : undefined;
    const request = budgeted(opened, before ?? opened.budget ?? requestBudget(opened));
    const pinned = new PinnedBlock(this.#blocks, request, pin);
    try {
      if (request.cachedOnly) throw notCached(request.ref, request.blockOffset + request.start);
      if (before?.isExhausted === true) throw before.finalError(request.ref.url);
      const { version, signal } = request;
      for (let starts = 1; ; starts++) {
        try {
          return await (version === undefined ? this.#openCurrent(request, pinned) : this.#openVersion(request, version, pinned));
        } catch (error) {
          const failure = CacheError.from(error);
          const again = failure.code === "FAILED_PRECONDITION" || (failure.code === "CANCELLED" && !this.#closing.signal.aborted);
          if (!again || version !== undefined || signal.aborted || starts === MAX_STARTS) throw failure;
        }
      }
    } finally {
      pinned.release();
    }
  }

  /** A miss of a version that is known or believed to be current. */
  async #openVersion(request: BlockRequest, version: string, pinned: PinnedBlock): Promise<ObjectRead> {
    for (let d = this.#discovering(request, version); d !== undefined; d = this.#discovering(request, version)) await d;
    return this.#blocks.fill(request, version, this.records.infoOf(request.ref.url, version), pinned);
  }

  /**
   * Resolves when a discovery that runs for this block has more answers: they may bring the requested bytes. Undefined: none can be of
   * this version any more; a fill may be opened, in the same turn of the event loop.
   */
  #discovering(
    { ref, blockOffset, signal }: Pick<BlockRequest, "ref" | "blockOffset" | "signal">,
    version: string,
  ): Promise<void> | undefined {
    const discovering = this.#fills.discovering(ref.url, blockOffset, version);
    return discovering && untilAborted(discovering, signal);
  }

  /**
   * A read of the current version. In this order: the version observed recently; the answer that another read waits for; a
   * question without bytes, if some of the block is cached or on its way; else the first fetch of bytes names the version.
   */
  async #openCurrent(request: BlockRequest, pinned: PinnedBlock): Promise<ObjectRead> {
    const { ref, blockOffset, signal } = request;
    const fresh = this.freshness.fresh(ref.url);
    if (fresh !== undefined) return this.#openVersion(request, fresh.version, pinned);
    const last = this.records.last(ref.url);
    const pin = last && pinned.of(last.version);
    if (last !== undefined && this.#blocks.isCached(request, last, pin)) return this.#askFirst(request, true, pinned);
    const discovery = this.#fills.discovery(ref.url);
    if (discovery !== undefined) {
      const info = await untilAborted(discovery.description.promise.catch(unlessOutOfRange), signal);
      return info === undefined ? this.#openCurrent(request, pinned) : this.#openVersion(request, info.version, pinned);
    }
    if (pin !== undefined || this.#fills.fillsAnyVersion(ref.url, blockOffset)) return this.#askFirst(request, false, pinned);
    return this.#blocks.discover(request, pinned);
  }

  /**
   * Asks which version is current before any byte is fetched. `isCached`: all requested bytes are cached of the known version. They
   * are served as stale if the origin does not answer in time.
   */
  async #askFirst(request: BlockRequest, isCached: boolean, pinned: PinnedBlock): Promise<ObjectRead> {
    const { ref, signal, budget } = request;
    const { info, isStale } = await this.freshness.current(ref, signal, { hasFallback: isCached, budget });
    if (!isStale) {
      budget?.count();
      // The answer may have other headers than the block that was pinned before the question.
      return this.#openVersion({ ...request, record: info }, info.version, pinned);
    }
    const pin = pinned.of(info.version);
    const read = pin && this.#blocks.cached(request, pin, "stale");
    // The segments may have been lost meanwhile.
    if (read === undefined) return this.#askFirst(request, false, pinned);
    pinned.handOver();
    return read;
  }
}

/** What of a record is needed: version and size alone, or headers too, with or without checksums. */
export type Needs = "version" | LackingHeaders;

/** Whether an object's information lacks what is needed. */
export function lacks(info: ObjectInfo, needs: Needs): boolean {
  return needs === "checksums" ? info.lacks !== undefined : needs === "metadata" && info.lacks === "metadata";
}

/** Another read's range lies past the object's end. This read's range may not. */
function unlessOutOfRange(error: CacheError): undefined {
  if (error.code !== "OUT_OF_RANGE") throw error;
}

function otherVersion(url: string, version: string): CacheError {
  return new CacheError(
    "FAILED_PRECONDITION",
    `${url}: the object's current version differs from the requested one (${version}): read it without a version`,
  );
}
