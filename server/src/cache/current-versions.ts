import { CacheError, type ObjectInfo, type ObjectRef } from "@frontcache/proto";
import { BoundedMap, SingleFlight } from "@frontcache/proto/runtime";
import { NoSuchBucket } from "../origin/checked-answer.js";
import type { Origin } from "../origin/origin.js";
import type { Clock } from "../runtime/clock.js";
import { CACHE_ITSELF } from "../security/principal.js";
import type { BlockStore, EvictSelector } from "../storage/block-store.js";

export interface CurrentVersionSettings {
  /** How old an observation may be to count as current. 0: never current; Infinity: always. */
  readonly revalidateAfterMs: number;
  /** How long "no such object" counts, and "the origin cannot be asked". */
  readonly negativeTtlMs: number;
}

export interface CurrentVersionsOptions extends CurrentVersionSettings {
  readonly clock: Clock;
  readonly origin: Pick<Origin, "ask">;
  readonly store: Pick<BlockStore, "newest">;
}

/**
 * What the origin answered about an object. It is dated by when its request was sent: the object may have changed after that
 * moment, while the answer was on its way.
 */
export interface Observation {
  /** The current version. Undefined: there is no such object. */
  readonly info: ObjectInfo | undefined;
  /** The object's whole bucket does not exist. */
  readonly isBucketMissing?: boolean | undefined;
  /** When the request was sent, monotonic milliseconds. */
  readonly askedAtMs: number;
}

/** Objects remembered, about 300 bytes each. */
const CAPACITY = 100_000;

interface Remembered extends Observation {
  /** -Infinity: the observation is known to be outdated, and `info` is undefined. */
  readonly askedAtMs: number;
  /** Observations whose request was sent before this moment are older than a change that is known. Monotonic milliseconds. */
  readonly changedAtMs: number;
  /** When the origin could not be asked about this object, after the observation. Monotonic milliseconds. */
  unaskableAtMs?: number | undefined;
}

/** The observation of a NOT_FOUND. */
export function absence(error: CacheError, askedAtMs: number): Observation {
  return { info: undefined, isBucketMissing: error instanceof NoSuchBucket, askedAtMs };
}

/**
 * The current version of each object, as the origin last answered. Ages are counted by a clock that never jumps; only the
 * observations of an earlier process are dated by the wall clock.
 */
export class CurrentVersions {
  readonly #options: CurrentVersionsOptions;
  /** Aborted when the member closes. */
  readonly #signal: AbortSignal;
  readonly #remembered = new BoundedMap<string, Remembered>(CAPACITY);
  /** One moment by both clocks, so that later jumps of the wall clock have no effect. */
  readonly #started: { readonly wallMs: number; readonly monotonicMs: number };
  readonly #questions = new SingleFlight<string, ObjectInfo>();

  constructor(options: CurrentVersionsOptions, signal: AbortSignal) {
    this.#options = options;
    this.#signal = signal;
    this.#started = { wallMs: options.clock.nowMs(), monotonicMs: options.clock.monotonicMs() };
  }

  /** The current version, if it was observed recently enough. Throws NOT_FOUND if the absence was observed recently enough. */
  fresh(url: string): ObjectInfo | undefined {
    const remembered = this.#lookUp(url);
    if (remembered === undefined) return undefined;
    const { clock, revalidateAfterMs, negativeTtlMs } = this.#options;
    const ageMs = clock.monotonicMs() - remembered.askedAtMs;
    if (remembered.info !== undefined) return ageMs < revalidateAfterMs ? remembered.info : undefined;
    if (ageMs < negativeTtlMs) {
      throw remembered.isBucketMissing === true
        ? new NoSuchBucket({ url })
        : new CacheError("NOT_FOUND", `${url}: no such object`);
    }
    return undefined;
  }

  /** The version observed last, at any time. Undefined: none, or the origin rejected it meanwhile. */
  last(url: string): ObjectInfo | undefined {
    return this.#lookUp(url)?.info;
  }

  /** Asks the origin for the current version and observes the answer. Concurrent questions with the same `hasFallback` share one request. */
  ask(ref: ObjectRef, hasFallback: boolean): Promise<ObjectInfo> {
    return this.#questions.run(questionKey(ref.url, hasFallback), async () => {
      const askedAtMs = this.#options.clock.monotonicMs();
      try {
        const question = { kind: "stat", ref, hasFallback, signal: this.#signal, principal: CACHE_ITSELF } as const;
        const info = await this.#options.origin.ask(question);
        this.observe(ref.url, { info, askedAtMs });
        return info;
      } catch (error) {
        const failure = CacheError.from(error);
        if (failure.code === "NOT_FOUND") this.observe(ref.url, absence(failure, askedAtMs));
        else if (failure.retryable) this.#couldNotAsk(ref.url);
        throw failure;
      }
    });
  }

  /** Whether the origin was unreachable for this object a moment ago. */
  wasUnaskable(url: string): boolean {
    const atMs = this.#remembered.peek(url)?.unaskableAtMs;
    return atMs !== undefined && this.#options.clock.monotonicMs() - atMs < this.#options.negativeTtlMs;
  }

  /** The origin answered. Ignored if the request was sent before the one of a known observation, or before a known change. */
  observe(url: string, observation: Observation): void {
    const { askedAtMs } = observation;
    const known = this.#remembered.peek(url);
    if (known !== undefined && askedAtMs < Math.max(known.askedAtMs, known.changedAtMs)) return;
    this.#remembered.set(url, { ...observation, changedAtMs: known?.changedAtMs ?? Number.NEGATIVE_INFINITY });
  }

  /**
   * The origin answered that this version is not current: by 412, or by bytes of another version. It is forgotten at once and
   * never served stale. The next read without a version asks the origin, and does not join a question that was sent before.
   */
  reject(url: string, version: string): void {
    const current = this.last(url);
    if (current !== undefined && current.version !== version) return;
    const changedAtMs = this.#options.clock.monotonicMs();
    this.#remembered.set(url, { info: undefined, askedAtMs: Number.NEGATIVE_INFINITY, changedAtMs });
    for (const hasFallback of [true, false]) this.#questions.forget(questionKey(url, hasFallback));
  }

  /** Forgets all objects that match the selector. */
  invalidate({ url, prefix }: EvictSelector): void {
    if (url !== undefined) this.#remembered.delete(url);
    else if (prefix !== undefined) {
      for (const [name] of this.#remembered) if (name.startsWith(prefix)) this.#remembered.delete(name);
    }
  }

  /** What is remembered. After a restart: what the newest cached block says. */
  #lookUp(url: string): Remembered | undefined {
    const known = this.#remembered.peek(url);
    if (known !== undefined) return known;
    const newest = this.#options.store.newest(url);
    if (newest === undefined) return undefined;
    const { wallMs, monotonicMs } = this.#started;
    const ageMs = wallMs - newest.createdAtMs;
    // It seems younger than this process if the wall clock was set back: the origin is asked then.
    const askedAtMs = ageMs < 0 ? Number.NEGATIVE_INFINITY : monotonicMs - ageMs;
    const remembered = { info: newest.info, askedAtMs, changedAtMs: Number.NEGATIVE_INFINITY };
    this.#remembered.set(url, remembered);
    return remembered;
  }

  #couldNotAsk(url: string): void {
    const remembered = this.#lookUp(url);
    if (remembered !== undefined) remembered.unaskableAtMs = this.#options.clock.monotonicMs();
  }
}

function questionKey(url: string, hasFallback: boolean): string {
  return `${hasFallback} ${url}`;
}
