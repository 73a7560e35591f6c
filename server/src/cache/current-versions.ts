import { CacheError, type ObjectInfo, type ObjectRef } from "@frontcache/proto";
import { SingleFlight } from "@frontcache/proto/runtime";
import type { Origin } from "../origin/origin.js";
import type { Clock } from "../runtime/clock.js";
import { CACHE_ITSELF } from "../security/principal.js";
import type { BlockStore, EvictSelector } from "../storage/block-store.js";

export interface CurrentVersionSettings {
  /** How old a seen version may be to count as current; 0: never, Infinity: for ever. */
  readonly revalidateAfterMs: number;
  /** How long "no such object" is believed, and "the origin can't be asked". */
  readonly negativeTtlMs: number;
}

export interface CurrentVersionsOptions extends CurrentVersionSettings {
  readonly clock: Clock;
  readonly origin: Pick<Origin, "ask">;
  readonly store: Pick<BlockStore, "newest">;
}

/** Objects remembered, about 300 bytes each; beyond it the one seen longest ago is forgotten. */
const CAPACITY = 100_000;

interface Sighting {
  /** Undefined: there was no such object. */
  readonly info: ObjectInfo | undefined;
  /** When the question was asked, monotonic milliseconds; -Infinity: known to be out of date. */
  readonly seenAtMs: number;
  /** When the origin could not be asked, monotonic milliseconds, later than `seenAtMs`. */
  unaskableAtMs?: number;
}

/**
 * What the origin last said is the current version of each object, and when. Ages are counted by a clock that never jumps; only
 * what an earlier process has seen is dated by the wall.
 */
export class CurrentVersions {
  readonly #seen = new Map<string, Sighting>();
  /** One moment by both clocks, so that jumps of the wall after it don't matter. */
  readonly #started: { readonly wallMs: number; readonly monotonicMs: number };
  readonly #questions = new SingleFlight<string, ObjectInfo>();

  constructor(
    private readonly options: CurrentVersionsOptions,
    /** Aborted when the member closes. */
    private readonly signal: AbortSignal,
  ) {
    this.#started = { wallMs: options.clock.nowMs(), monotonicMs: options.clock.monotonicMs() };
  }

  /** The current version, seen recently enough. Throws NOT_FOUND where its absence was seen recently enough. */
  fresh(url: string): ObjectInfo | undefined {
    const sighting = this.#sighting(url);
    if (sighting === undefined) return undefined;
    const { clock, revalidateAfterMs, negativeTtlMs } = this.options;
    const ageMs = clock.monotonicMs() - sighting.seenAtMs;
    if (sighting.info !== undefined) return ageMs < revalidateAfterMs ? sighting.info : undefined;
    if (ageMs < negativeTtlMs) throw new CacheError("NOT_FOUND", `${url}: no such object`);
    return undefined;
  }

  /** The version seen last, however long ago. */
  last(url: string): ObjectInfo | undefined {
    return this.#sighting(url)?.info;
  }

  /** Asks the origin for the current version and remembers the answer. Concurrent questions with as much of a fallback share one request. */
  ask(ref: ObjectRef, hasFallback: boolean): Promise<ObjectInfo> {
    return this.#questions.run(`${hasFallback} ${ref.url}`, async () => {
      const askedAtMs = this.options.clock.monotonicMs();
      try {
        const question = { kind: "stat", ref, hasFallback, signal: this.signal, principal: CACHE_ITSELF } as const;
        const info = await this.options.origin.ask(question);
        this.see(ref.url, info, askedAtMs);
        return info;
      } catch (error) {
        const failure = CacheError.from(error);
        if (failure.code === "NOT_FOUND") this.seeMissing(ref.url);
        else if (failure.retryable) this.#couldNotAsk(ref.url);
        throw failure;
      }
    });
  }

  /** Whether the origin was out of reach for this object a moment ago. */
  wasUnaskable(url: string): boolean {
    const atMs = this.#seen.get(url)?.unaskableAtMs;
    return atMs !== undefined && this.options.clock.monotonicMs() - atMs < this.options.negativeTtlMs;
  }

  /** The origin has said that this version is current, to who asked at `askedAtMs` (monotonic). */
  see(url: string, info: ObjectInfo, askedAtMs: number): void {
    // Answers may overtake each other: the later question's one holds.
    if ((this.#seen.get(url)?.seenAtMs ?? Number.NEGATIVE_INFINITY) <= askedAtMs)
      this.#remember(url, { info, seenAtMs: askedAtMs });
  }

  /** The origin has said now that there is no such object. */
  seeMissing(url: string): void {
    this.#remember(url, { info: undefined, seenAtMs: this.options.clock.monotonicMs() });
  }

  /** The origin no longer has this version. */
  forget(url: string, version: string): void {
    const info = this.last(url);
    if (info?.version === version) this.#remember(url, { info, seenAtMs: Number.NEGATIVE_INFINITY });
  }

  /** Takes nothing for current any more that fits the selector. */
  invalidate({ url, prefix }: EvictSelector): void {
    const fits =
      url === undefined ? [...this.#seen.keys()].filter((name) => prefix !== undefined && name.startsWith(prefix)) : [url];
    for (const name of fits) this.#seen.delete(name);
  }

  /** What was seen; after a restart, what the newest held block says. */
  #sighting(url: string): Sighting | undefined {
    const seen = this.#seen.get(url);
    if (seen !== undefined) return seen;
    const newest = this.options.store.newest(url);
    if (newest === undefined) return undefined;
    const { wallMs, monotonicMs } = this.#started;
    const ageMs = wallMs - newest.createdAtMs;
    // It seems younger than this process where the wall clock was set back: ask rather than believe it.
    const seenAtMs = ageMs < 0 ? Number.NEGATIVE_INFINITY : monotonicMs - ageMs;
    const sighting = { info: newest.info, seenAtMs };
    this.#remember(url, sighting);
    return sighting;
  }

  #couldNotAsk(url: string): void {
    const sighting = this.#sighting(url);
    if (sighting !== undefined) sighting.unaskableAtMs = this.options.clock.monotonicMs();
  }

  #remember(url: string, sighting: Sighting): void {
    this.#seen.delete(url);
    this.#seen.set(url, sighting);
    if (this.#seen.size > CAPACITY) this.#seen.delete(this.#seen.keys().next().value!);
  }
}
