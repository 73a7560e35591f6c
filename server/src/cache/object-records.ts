import type { CacheError, ObjectInfo } from "@frontcache/proto";
import { BoundedMap } from "@frontcache/proto/runtime";
import { NoSuchBucket } from "../origin/checked-answer.js";
import type { Clock } from "../runtime/clock.js";
import type { BlockStore, EvictSelector } from "../storage/block-store.js";
import { laterInfo } from "./later-info.js";

export interface ObjectRecordsOptions {
  readonly clock: Clock;
  readonly store: Pick<BlockStore, "newest" | "describe">;
  /**
   * Called synchronously when what is known of an object turns into something else: another version, an absence, or nothing
   * (`NOTHING_KNOWN`), because the version was rejected, became doubtful, or was evicted. Not called for new metadata of one version.
   */
  readonly onChange?: ((url: string, before: Observation, after: Observation) => void) | undefined;
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

/** Objects remembered, about 300 bytes each without their headers. */
const CAPACITY = 100_000;
/** The memory for their headers. */
const MAX_HEADER_BYTES = 64 << 20;

/** Nobody knows which version is current, and no earlier one may be served stale. */
export const NOTHING_KNOWN: Observation = { info: undefined, askedAtMs: Number.NEGATIVE_INFINITY };

/** The record of one object. */
interface ObjectRecord {
  readonly observation: Observation;
  /** When the answer came, monotonic milliseconds. The object had this version at some moment between request and answer. */
  readonly answeredAtMs: number;
  /** What was known before the last change. */
  readonly replaced: Observation | undefined;
  /** Observations whose request was sent before this moment count as expired. Monotonic milliseconds. */
  readonly expiredBeforeMs: number;
  /** While nothing is known: a version that the origin rejected, and when, monotonic milliseconds. */
  readonly rejected?: { readonly version: string; readonly atMs: number } | undefined;
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
  readonly #records = new BoundedMap<string, ObjectRecord>(CAPACITY, undefined, { limit: MAX_HEADER_BYTES, of: headerBytesOf });
  /** One moment by both clocks, so that later jumps of the wall clock have no effect. */
  readonly #started: { readonly wallMs: number; readonly monotonicMs: number };
  /** Observations whose request was sent before this moment count as expired. Monotonic milliseconds. */
  #expiredBeforeMs = Number.NEGATIVE_INFINITY;

  constructor(options: ObjectRecordsOptions) {
    this.#options = options;
    this.#started = { wallMs: options.clock.nowMs(), monotonicMs: options.clock.monotonicMs() };
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

  /** What is remembered, unless it counts as expired whatever its age is. */
  unexpired(url: string): Observation | undefined {
    const record = this.#lookUp(url);
    return record === undefined || this.#isExpired(record) ? undefined : record.observation;
  }

  /** Whether something is remembered that counts as expired whatever its age is. */
  isExpired(url: string): boolean {
    const record = this.#lookUp(url);
    return record !== undefined && this.#isExpired(record);
  }

  /** How long ago the request of the remembered observation was sent. Infinity: unknown. */
  ageMs(url: string): number {
    return this.#options.clock.monotonicMs() - (this.observation(url)?.askedAtMs ?? Number.NEGATIVE_INFINITY);
  }

  /** The same of one version. Undefined: another version was observed last, or the age is unknown. */
  ageOf(url: string, version: string): number | undefined {
    const observation = this.observation(url);
    if (observation?.info?.version !== version || observation.askedAtMs === Number.NEGATIVE_INFINITY) return undefined;
    return this.#options.clock.monotonicMs() - observation.askedAtMs;
  }

  /** When the version was rejected, after which nothing is known. Monotonic milliseconds; -Infinity: something is known. */
  rejectedAtMs(url: string): number {
    const record = this.#records.peek(url);
    return record?.observation === NOTHING_KNOWN ? record.answeredAtMs : Number.NEGATIVE_INFINITY;
  }

  /** All that is remembered, the least recently observed object first, with `NOTHING_KNOWN` of those whose version was rejected. */
  *entries(): IterableIterator<[url: string, observation: Observation]> {
    // A copy: an object that is observed meanwhile moves to the end, and the loop would never reach it.
    for (const [url, { observation }] of [...this.#records]) yield [url, observation];
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
    else if (known.observation === NOTHING_KNOWN) {
      const { rejected } = known;
      const isRejected = rejected !== undefined && rejected.version === observation.info?.version && askedAtMs < rejected.atMs;
      if (askedAtMs >= known.answeredAtMs && !isRejected) this.#set(url, known, observation, known.replaced);
    } else if (isSame(known.observation, observation)) {
      if (askedAtMs >= known.observation.askedAtMs) this.#set(url, known, observation, known.replaced);
    } else if (askedAtMs >= known.answeredAtMs) this.#set(url, known, observation, known.observation);
    else if (known.replaced === undefined || !isSame(known.replaced, observation)) this.#forget(url, known);
  }

  /**
   * The origin answered that this version is not current: by 412, or by bytes of another version. It is forgotten at once and
   * never served stale. The next read without a version asks the origin, and does not join a question that was sent before. If nothing is
   * known, an answer to a question that is on its way counts, unless it names this version: rejections of many reads at once would have all
   * answers ignored.
   */
  reject(url: string, version: string): void {
    const known = this.#lookUp(url);
    const info = known?.observation.info;
    const isUnknown = known?.observation === NOTHING_KNOWN;
    if (!isUnknown && info !== undefined && info.version !== version) return;
    if (!isUnknown || (known.rejected !== undefined && known.rejected.version !== version)) this.#forget(url, known);
    const rejected = { version, atMs: this.#options.clock.monotonicMs() };
    this.#records.set(url, { ...this.#records.peek(url)!, rejected });
  }

  /** The object was written: whatever is known of it, and whatever was asked before now, may be of an older version. */
  replaced(url: string): void {
    this.#forget(url, this.#lookUp(url));
  }

  /**
   * All that was observed before now counts as expired, whatever `revalidateAfterMs` says: somebody else may have known better
   * meanwhile. It may still be served stale.
   */
  expireAll(): void {
    this.#expiredBeforeMs = this.#options.clock.monotonicMs();
  }

  /** The same for one object, and for observations before now that come later, from a member that hands the object over. */
  expire(url: string): void {
    const expiredBeforeMs = this.#options.clock.monotonicMs();
    const known = this.#lookUp(url);
    if (known === undefined) this.#set(url, undefined, NOTHING_KNOWN, undefined);
    else if (known.observation === NOTHING_KNOWN) this.#records.set(url, { ...known, expiredBeforeMs });
    else {
      const observation = { ...known.observation, askedAtMs: Number.NEGATIVE_INFINITY };
      this.#records.set(url, { ...known, observation, expiredBeforeMs });
    }
  }

  /** Forgets all objects that match the selector. */
  invalidate({ url, prefix }: EvictSelector): void {
    if (url !== undefined) this.#delete(url);
    else if (prefix !== undefined) for (const [name] of this.#records) if (name.startsWith(prefix)) this.#delete(name);
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
    const record = { observation, answeredAtMs: askedAtMs, replaced: undefined, expiredBeforeMs: Number.NEGATIVE_INFINITY };
    this.#records.set(url, record);
    return record;
  }

  #set(url: string, known: ObjectRecord | undefined, observed: Observation, replaced: Observation | undefined): void {
    const info = observed.info && laterInfo(known?.observation.info, observed.info);
    if (info !== undefined && info !== known?.observation.info) this.#options.store.describe(url, info);
    const observation = info === observed.info ? observed : { ...observed, info };
    const expiredBeforeMs = known?.expiredBeforeMs ?? Number.NEGATIVE_INFINITY;
    this.#records.set(url, { observation, answeredAtMs: this.#options.clock.monotonicMs(), replaced, expiredBeforeMs });
    if (known !== undefined) this.#changed(url, known.observation, observation);
  }

  /** What was known is not current any more, or may not be. */
  #forget(url: string, known: ObjectRecord | undefined): void {
    const replaced = known === undefined || known.observation === NOTHING_KNOWN ? known?.replaced : known.observation;
    this.#set(url, known, NOTHING_KNOWN, replaced);
  }

  #isExpired({ observation, expiredBeforeMs }: ObjectRecord): boolean {
    return observation.askedAtMs < Math.max(this.#expiredBeforeMs, expiredBeforeMs);
  }

  #delete(url: string): void {
    const record = this.#records.peek(url);
    if (record === undefined) return;
    this.#records.delete(url);
    this.#changed(url, record.observation, NOTHING_KNOWN);
  }

  #changed(url: string, before: Observation, after: Observation): void {
    if (before === NOTHING_KNOWN || (after !== NOTHING_KNOWN && isSame(before, after))) return;
    this.#options.onChange?.(url, before, after);
  }
}

/** Whether both are of one version, or both of an absence. */
function isSame(a: Observation, b: Observation): boolean {
  return a.info?.version === b.info?.version;
}

function headerBytesOf({ observation, replaced }: ObjectRecord): number {
  return (observation.info?.headers?.length ?? 0) + (replaced?.info?.headers?.length ?? 0);
}
