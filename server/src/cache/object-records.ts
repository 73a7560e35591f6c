import { CacheError, type ObjectInfo, type ObjectRef } from "@frontcache/proto";
import { BoundedMap, SingleFlight } from "@frontcache/proto/runtime";
import { NoSuchBucket } from "../origin/checked-answer.js";
import type { Origin } from "../origin/origin.js";
import type { RequestBudget } from "../origin/request-budget.js";
import type { Clock } from "../runtime/clock.js";
import { CACHE_ITSELF } from "../security/principal.js";
import type { BlockStore, EvictSelector } from "../storage/block-store.js";
import { laterInfo } from "./later-info.js";

export interface RecordSettings {
  /** How old an observation may be to count as current. 0: never current; Infinity: always. */
  readonly revalidateAfterMs: number;
  /** How long "no such object" counts, and "the origin cannot be asked". */
  readonly negativeTtlMs: number;
  /**
   * Called synchronously when what is known of an object turns into something else: another version, an absence, or nothing
   * (`NOTHING_KNOWN`), because the version was rejected, became doubtful, or was evicted. Not called for new metadata of one version.
   */
  readonly onChange?: ((url: string, before: Observation, after: Observation) => void) | undefined;
}

export interface ObjectRecordsOptions extends RecordSettings {
  readonly clock: Clock;
  readonly origin: Pick<Origin, "ask">;
  readonly store: Pick<BlockStore, "newest" | "describe">;
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

/** Objects remembered, about 300 bytes each, and their headers. */
const CAPACITY = 100_000;

/** Nobody knows which version is current, and no earlier one may be served stale. */
export const NOTHING_KNOWN: Observation = { info: undefined, askedAtMs: Number.NEGATIVE_INFINITY };

/** The record of one object. */
interface ObjectRecord {
  readonly observation: Observation;
  /** When the answer came, monotonic milliseconds. The object had this version at some moment between request and answer. */
  readonly answeredAtMs: number;
  /** What was known before the last change. */
  readonly replaced: Observation | undefined;
  /** When the origin could not be asked about this object, after the observation. Monotonic milliseconds. */
  unaskableAtMs?: number | undefined;
}

/** The observation of a NOT_FOUND. */
export function absence(error: CacheError, askedAtMs: number): Observation {
  return { info: undefined, isBucketMissing: error instanceof NoSuchBucket, askedAtMs };
}

/**
 * The records of objects: what the origin last answered about each, dated by when its request was sent. Ages are counted by a
 * clock that never jumps; only the observations of an earlier process are dated by the wall clock.
 */
export class ObjectRecords {
  readonly #options: ObjectRecordsOptions;
  /** Aborted when the member closes. */
  readonly #signal: AbortSignal;
  readonly #records = new BoundedMap<string, ObjectRecord>(CAPACITY);
  /** One moment by both clocks, so that later jumps of the wall clock have no effect. */
  readonly #started: { readonly wallMs: number; readonly monotonicMs: number };
  readonly #questions = new SingleFlight<string, ObjectInfo>();
  /** Observations whose request was sent before this moment count as expired. Monotonic milliseconds. */
  #expiredBeforeMs = Number.NEGATIVE_INFINITY;

  constructor(options: ObjectRecordsOptions, signal: AbortSignal) {
    this.#options = options;
    this.#signal = signal;
    this.#started = { wallMs: options.clock.nowMs(), monotonicMs: options.clock.monotonicMs() };
  }

  /** The current version, if it was observed recently enough. Throws NOT_FOUND if the absence was observed recently enough. */
  fresh(url: string): ObjectInfo | undefined {
    const observation = this.observation(url);
    if (observation === undefined) return undefined;
    const { clock, revalidateAfterMs, negativeTtlMs } = this.#options;
    const { info, askedAtMs } = observation;
    if (askedAtMs < this.#expiredBeforeMs) return undefined;
    const ageMs = clock.monotonicMs() - askedAtMs;
    if (info !== undefined) return ageMs < revalidateAfterMs ? info : undefined;
    if (ageMs < negativeTtlMs) {
      throw observation.isBucketMissing === true
        ? new NoSuchBucket({ url })
        : new CacheError("NOT_FOUND", `${url}: no such object`);
    }
    return undefined;
  }

  /** The version observed last, at any time. Undefined: none, or the origin rejected it meanwhile. */
  last(url: string): ObjectInfo | undefined {
    return this.observation(url)?.info;
  }

  /** What was observed last, if it is this version. */
  infoOf(url: string, version: string): ObjectInfo | undefined {
    const info = this.last(url);
    return info?.version === version ? info : undefined;
  }

  /** What is remembered, fresh or not; `NOTHING_KNOWN` after a rejection. */
  observation(url: string): Observation | undefined {
    return this.#lookUp(url)?.observation;
  }

  /** How long ago the request of the remembered observation was sent. Infinity: unknown. */
  ageMs(url: string): number {
    return this.#options.clock.monotonicMs() - (this.observation(url)?.askedAtMs ?? Number.NEGATIVE_INFINITY);
  }

  /** All that is remembered, the least recently observed object first, with `NOTHING_KNOWN` of those whose version was rejected. */
  *entries(): IterableIterator<[url: string, observation: Observation]> {
    for (const [url, { observation }] of this.#records) yield [url, observation];
  }

  /**
   * Asks the origin for the current version and observes the answer. Concurrent questions with the same `hasFallback` share one
   * request. `budget` counts it.
   */
  ask(ref: ObjectRef, hasFallback: boolean, budget?: RequestBudget): Promise<ObjectInfo> {
    return this.#questions.run(questionKey(ref.url, hasFallback), async () => {
      const askedAtMs = this.#options.clock.monotonicMs();
      try {
        const question = { kind: "stat", ref, hasFallback, signal: this.#signal, principal: CACHE_ITSELF, budget } as const;
        const info = await this.#options.origin.ask(question);
        this.observe(ref.url, { info, askedAtMs });
        return this.infoOf(ref.url, info.version) ?? info;
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
    const atMs = this.#records.peek(url)?.unaskableAtMs;
    return atMs !== undefined && this.#options.clock.monotonicMs() - atMs < this.#options.negativeTtlMs;
  }

  /**
   * The origin answered. An answer counts for some moment between its request and now, so two answers that were waited for at
   * the same time have no order by themselves:
   * 1. An answer of the known version renews it, if it was requested later.
   * 2. Another version is newer if it was requested after the known answer had come.
   * 3. A version that the known one replaced is older.
   * 4. In all other cases nobody knows which one is newer. Both may have been read already, so neither is kept, and the next
   *    read asks the origin.
   */
  observe(url: string, observation: Observation): void {
    const known = this.#lookUp(url);
    const { askedAtMs } = observation;
    if (known === undefined) this.#set(url, undefined, observation, undefined);
    else if (isNothing(known.observation)) {
      if (askedAtMs >= known.answeredAtMs) this.#set(url, known, observation, known.replaced);
    } else if (isSame(known.observation, observation)) {
      if (askedAtMs >= known.observation.askedAtMs) this.#set(url, known, observation, known.replaced);
    } else if (askedAtMs >= known.answeredAtMs) this.#set(url, known, observation, known.observation);
    else if (known.replaced === undefined || !isSame(known.replaced, observation)) this.#forget(url, known);
  }

  /**
   * The origin answered that this version is not current: by 412, or by bytes of another version. It is forgotten at once and
   * never served stale. The next read without a version asks the origin, and does not join a question that was sent before.
   */
  reject(url: string, version: string): void {
    const known = this.#lookUp(url);
    const info = known?.observation.info;
    if (info === undefined || info.version === version) this.#forget(url, known);
  }

  /**
   * All that was observed before now counts as expired, whatever `revalidateAfterMs` says: somebody else may have known better
   * meanwhile. It may still be served stale.
   */
  expireAll(): void {
    this.#expiredBeforeMs = this.#options.clock.monotonicMs();
  }

  /** Forgets all objects that match the selector. */
  invalidate({ url, prefix }: EvictSelector): void {
    const names = url !== undefined ? [url] : prefix === undefined ? [] : this.#records;
    for (const entry of names) {
      const name = typeof entry === "string" ? entry : entry[0];
      const record = this.#records.peek(name);
      if (record === undefined || !name.startsWith(prefix ?? "")) continue;
      this.#records.delete(name);
      this.#changed(name, record.observation, NOTHING_KNOWN);
    }
  }

  /** What is remembered. After a restart: what the newest cached block says. */
  #lookUp(url: string): ObjectRecord | undefined {
    const known = this.#records.peek(url);
    if (known !== undefined) return known;
    const newest = this.#options.store.newest(url);
    if (newest === undefined) return undefined;
    const { wallMs, monotonicMs } = this.#started;
    const ageMs = wallMs - newest.createdAtMs;
    // It seems younger than this process if the wall clock was set back: the origin is asked then.
    const askedAtMs = ageMs < 0 ? Number.NEGATIVE_INFINITY : monotonicMs - ageMs;
    const observation = { info: newest.info, askedAtMs };
    const record = { observation, answeredAtMs: askedAtMs, replaced: undefined };
    this.#records.set(url, record);
    return record;
  }

  #set(url: string, known: ObjectRecord | undefined, observed: Observation, replaced: Observation | undefined): void {
    const info = observed.info && laterInfo(known?.observation.info, observed.info);
    if (info !== undefined && info !== known?.observation.info) this.#options.store.describe(url, info);
    const observation = info === observed.info ? observed : { ...observed, info };
    this.#records.set(url, { observation, answeredAtMs: this.#options.clock.monotonicMs(), replaced });
    if (known !== undefined) this.#changed(url, known.observation, observation);
  }

  /** What was known is not current any more, or may not be. Questions that were sent before are not joined. */
  #forget(url: string, known: ObjectRecord | undefined): void {
    const replaced = known === undefined || isNothing(known.observation) ? known?.replaced : known.observation;
    this.#set(url, known, NOTHING_KNOWN, replaced);
    for (const hasFallback of [true, false]) this.#questions.forget(questionKey(url, hasFallback));
  }

  #changed(url: string, before: Observation, after: Observation): void {
    if (!isNothing(before) && (isNothing(after) || !isSame(before, after))) this.#options.onChange?.(url, before, after);
  }

  #couldNotAsk(url: string): void {
    const record = this.#lookUp(url);
    if (record !== undefined) record.unaskableAtMs = this.#options.clock.monotonicMs();
  }
}

function isNothing({ info, askedAtMs }: Observation): boolean {
  return info === undefined && askedAtMs === Number.NEGATIVE_INFINITY;
}

/** Whether both are of one version, or both of an absence. */
function isSame(a: Observation, b: Observation): boolean {
  return a.info?.version === b.info?.version;
}

function questionKey(url: string, hasFallback: boolean): string {
  return `${hasFallback} ${url}`;
}
