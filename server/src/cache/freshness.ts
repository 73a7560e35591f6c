import { CacheError, type ObjectInfo, type ObjectRef, parseObjectUrl } from "@frontcache/proto";
import { BoundedMap, untilAborted } from "@frontcache/proto/runtime";
import type { OriginStates } from "../origin/availability.js";
import { NoSuchBucket } from "../origin/checked-answer.js";
import type { Origin } from "../origin/origin.js";
import type { RequestBudget } from "../origin/request-budget.js";
import type { Clock } from "../runtime/clock.js";
import { CACHE_ITSELF } from "../security/principal.js";
import { absence, type ObjectRecords, type Observation } from "./object-records.js";

export interface FreshnessSettings {
  /** How old an observation may be to count as current. 0: never current; Infinity: always. */
  readonly revalidateAfterMs: number;
  /** How long "no such object" counts, and how long an object is not asked about again after the origin answered with an error. */
  readonly negativeTtlMs: number;
  /** Serve a cached version that could not be confirmed because the origin is slow or unreachable. */
  readonly staleIfError: boolean;
}

export interface FreshnessOptions extends FreshnessSettings {
  readonly clock: Clock;
  readonly origin: Pick<Origin, "ask">;
  readonly records: ObjectRecords;
  /** What to expect of each origin. Undefined: an answer. */
  readonly originStates?: OriginStates | undefined;
}

/** The record of an object. */
export interface CurrentRecord {
  readonly info: ObjectInfo;
  /** It could not be confirmed, because the origin is slow or unreachable. */
  readonly isStale: boolean;
  /** Requests to the origin that failed at another member before this answer. Absent: none. */
  readonly failedRequests?: number | undefined;
  /** Requests to the origin that a member may have sent that was lost. Absent: none. */
  readonly lostRequests?: number | undefined;
}

export interface CurrentOptions {
  /** Whether the caller can use a version that could not be confirmed. Default: yes. */
  readonly hasFallback?: boolean | undefined;
  /** Only an answer to a question that was sent after this moment counts, however long it takes. Monotonic milliseconds. */
  readonly notBeforeMs?: number | undefined;
  /** Counts the requests of a question that is asked for this caller alone. */
  readonly budget?: RequestBudget | undefined;
}

/** How long a caller with a fallback waits. */
interface InTime {
  /** As in Wanted. */
  readonly sinceMs: number;
  /** Counted from the question. */
  readonly waitMs: number;
  readonly budget?: RequestBudget | undefined;
}

/** A record in use is revalidated in the background from this share of `revalidateAfterMs` on. */
const REVALIDATE_AHEAD = 0.8;
/** How long a read that has a fallback waits for the origin's answer. */
const FALLBACK_AFTER_MS = 250;
/** Questions for which nobody waits, at a time: half of the connections to one origin. */
const MAX_UNATTENDED = 128;
/** Objects about which the origin could not be asked a moment ago. */
const REMEMBERED_FAILURES = 10_000;
/** Questions about one object in a row whose answers contradict other answers. */
const MAX_CONTRADICTIONS = 3;

/** A question on its way to the origin. */
interface Question {
  readonly askedAtMs: number;
  readonly hasFallback: boolean;
  readonly budget: RequestBudget | undefined;
  /** Counts questions in a row whose answers contradicted other answers, this one included. */
  readonly times: number;
  /** The record after the answer. */
  answer: Promise<ObjectInfo>;
}

/** The question that a caller needs. */
interface Wanted {
  readonly hasFallback: boolean;
  /** It must be sent after this moment, monotonic milliseconds. */
  readonly sinceMs?: number | undefined;
  readonly budget?: RequestBudget | undefined;
  /** The answer to this question contradicted another answer: it does not count. */
  readonly contradicted?: Question | undefined;
}

const NOT_ASKED = new Promise<never>(() => {});

/**
 * Decides whether a record is fresh enough, and asks the origin if it is not. Reads that have a fallback never wait long:
 * 1. A record in use is revalidated in the background before it expires.
 * 2. An expired record is asked for. After FALLBACK_AFTER_MS the read gets the known version, as stale. The question continues, and
 *    its answer is observed.
 * 3. If the origin is known to be slow or unreachable, the read does not wait at all.
 */
export class Freshness {
  readonly #options: FreshnessOptions;
  /** Aborted when the member closes. */
  readonly #signal: AbortSignal;
  /** The newest question about each object. */
  readonly #questions = new Map<string, Question>();
  /** When the origin could not be asked, by object. Monotonic milliseconds. */
  readonly #failures = new BoundedMap<string, number>(REMEMBERED_FAILURES);
  #staleAnswers = 0;

  constructor(options: FreshnessOptions, signal: AbortSignal) {
    this.#options = options;
    this.#signal = signal;
  }

  /** Answers by versions that could not be confirmed. */
  get staleAnswers(): number {
    return this.#staleAnswers;
  }

  /**
   * The current version, if it was observed recently enough, and after `notBeforeMs`. Throws NOT_FOUND if the absence was observed
   * recently enough. Counts as a use of the record.
   */
  fresh(url: string, notBeforeMs = Number.NEGATIVE_INFINITY): ObjectInfo | undefined {
    const { clock, records, revalidateAfterMs, negativeTtlMs } = this.#options;
    const observation = records.unexpired(url);
    if (observation === undefined || observation.askedAtMs <= notBeforeMs) return undefined;
    const ageMs = clock.monotonicMs() - observation.askedAtMs;
    if (observation.info === undefined) {
      if (ageMs < negativeTtlMs) throw missing(url, observation);
      return undefined;
    }
    if (ageMs >= revalidateAfterMs) return undefined;
    if (ageMs >= REVALIDATE_AHEAD * revalidateAfterMs) this.#revalidate(url);
    return observation.info;
  }

  /**
   * The known version, if no answer of the origin is to be expected in time. The origin is asked in the background. Only for records
   * that are not fresh; the caller reports by `servedStale` that it used the version.
   */
  staleAtOnce(ref: ObjectRef): ObjectInfo | undefined {
    const { clock, records, revalidateAfterMs, staleIfError, originStates } = this.#options;
    if (!staleIfError || revalidateAfterMs === 0) return undefined;
    const running = this.#questions.get(ref.url);
    const isLate =
      this.#hasFailed(ref.url) ||
      (originStates?.stateOf(ref) ?? "available") !== "available" ||
      (running === undefined
        ? this.#questions.size >= MAX_UNATTENDED
        : running.askedAtMs + FALLBACK_AFTER_MS <= clock.monotonicMs());
    const last = isLate ? records.last(ref.url) : undefined;
    if (last !== undefined && running === undefined) this.#revalidate(ref.url, ref);
    return last;
  }

  /**
   * The object's record, as fresh as the settings demand. Rejects with NOT_FOUND if there is no such object, and with the origin's
   * error if the origin cannot be asked and there is nothing to fall back on.
   */
  async current(ref: ObjectRef, signal: AbortSignal, options: CurrentOptions = {}): Promise<CurrentRecord> {
    const { url } = ref;
    const { hasFallback = true, notBeforeMs, budget } = options;
    const { clock, records, revalidateAfterMs, staleIfError } = this.#options;
    const fresh = this.fresh(url, notBeforeMs);
    if (fresh !== undefined) return { info: fresh, isStale: false };
    const sinceMs = notBeforeMs ?? (revalidateAfterMs === 0 ? clock.monotonicMs() : Number.NEGATIVE_INFINITY);
    const isPatient = sinceMs !== Number.NEGATIVE_INFINITY;
    const fallback = staleIfError && hasFallback ? records.last(url) : undefined;
    if (fallback === undefined)
      return { info: await untilAborted(this.#ask(ref, { hasFallback: false, sinceMs, budget }), signal), isStale: false };
    const late = isPatient ? undefined : this.staleAtOnce(ref);
    if (late !== undefined) return this.#stale(late);
    const waitMs = isPatient ? Number.POSITIVE_INFINITY : FALLBACK_AFTER_MS;
    const info = await this.#askInTime(ref, signal, { sinceMs, waitMs, budget });
    if (info !== undefined) return { info, isStale: false };
    const last = records.last(url);
    // The version was rejected meanwhile: it is not served stale.
    if (last === undefined) return this.current(ref, signal, { ...options, hasFallback: false });
    return this.#stale(last);
  }

  /** The origin's answer, however fresh the record is. Undefined: it does not come, or not within `waitMs` of the question. */
  async confirmed(ref: ObjectRef, signal: AbortSignal, waitMs: number): Promise<ObjectInfo | undefined> {
    const isAvailable = (this.#options.originStates?.stateOf(ref) ?? "available") === "available";
    return this.#askInTime(ref, signal, { sinceMs: Number.NEGATIVE_INFINITY, waitMs: isAvailable ? waitMs : 0 });
  }

  /** An answer used the version of `staleAtOnce`. */
  servedStale(): void {
    this.#staleAnswers++;
  }

  #stale(info: ObjectInfo): CurrentRecord {
    this.#staleAnswers++;
    return { info, isStale: true };
  }

  /** Asks in the background, unless a question is on its way, too many are, or the origin could not be asked a moment ago. */
  #revalidate(url: string, ref?: ObjectRef): void {
    if (this.#questions.has(url) || this.#questions.size >= MAX_UNATTENDED || this.#hasFailed(url)) return;
    const object = ref ?? parseObjectUrl(url);
    if (this.#options.originStates?.isWorthAsking(object) === false) return;
    this.#start(object, { hasFallback: true });
  }

  #hasFailed(url: string): boolean {
    const failedAtMs = this.#failures.peek(url);
    return failedAtMs !== undefined && this.#options.clock.monotonicMs() - failedAtMs < this.#options.negativeTtlMs;
  }

  /** The answer, for a caller with a fallback. Undefined: it does not come, or not within `waitMs` of the question. */
  async #askInTime(ref: ObjectRef, signal: AbortSignal, { sinceMs, waitMs, budget }: InTime): Promise<ObjectInfo | undefined> {
    const { clock } = this.#options;
    const answer = this.#ask(ref, { hasFallback: true, sinceMs, budget });
    const askedAtMs = this.#questions.get(ref.url)?.askedAtMs ?? clock.monotonicMs();
    let cancel = (): void => {};
    const tooLate = new Promise<undefined>((resolve) => {
      if (waitMs === Number.POSITIVE_INFINITY) return;
      cancel = clock.after(Math.max(0, askedAtMs + waitMs - clock.monotonicMs()), () => resolve(undefined));
    });
    try {
      return await untilAborted(Promise.race([answer, tooLate]), signal);
    } catch (error) {
      if (signal.aborted || !CacheError.from(error).retryable) throw error;
      return undefined;
    } finally {
      cancel();
    }
  }

  /** Shares the answer to a question that was sent after `sinceMs` and after the last rejection, or asks. */
  async #ask(ref: ObjectRef, wanted: Wanted): Promise<ObjectInfo> {
    const { url } = ref;
    const { hasFallback, sinceMs = Number.NEGATIVE_INFINITY, contradicted } = wanted;
    for (;;) {
      const running = this.#questions.get(url);
      if (running === undefined || running === contradicted || running.askedAtMs < this.#options.records.rejectedAtMs(url)) break;
      try {
        const info = await running.answer;
        if (running.askedAtMs > sinceMs) return info;
      } catch (error) {
        // A question with a fallback has fewer attempts.
        if (running.askedAtMs > sinceMs && (hasFallback || !running.hasFallback)) throw error;
      }
    }
    return this.#start(ref, wanted).answer;
  }

  #start(ref: ObjectRef, { hasFallback, budget, contradicted }: Wanted): Question {
    const { url } = ref;
    const askedAtMs = this.#options.clock.monotonicMs();
    const times = (contradicted?.times ?? 0) + 1;
    const question: Question = { askedAtMs, hasFallback, budget, times, answer: NOT_ASKED };
    question.answer = this.#askOrigin(ref, question);
    this.#questions.set(url, question);
    const end = (): void => {
      if (this.#questions.get(url) === question) this.#questions.delete(url);
    };
    question.answer.then(end, end);
    return question;
  }

  /** Asks the origin and observes the answer. Resolves with the record, which may have become newer than the answer. */
  async #askOrigin(ref: ObjectRef, asked: Question): Promise<ObjectInfo> {
    const { url } = ref;
    const { askedAtMs, hasFallback, budget, times } = asked;
    const { clock, origin, records } = this.#options;
    try {
      const question = { kind: "stat", ref, hasFallback, signal: this.#signal, principal: CACHE_ITSELF, budget } as const;
      records.observe(url, { info: await origin.ask(question), askedAtMs });
    } catch (error) {
      const failure = CacheError.from(error);
      if (failure.code !== "NOT_FOUND") {
        if (failure.retryable) this.#failures.set(url, clock.monotonicMs());
        throw failure;
      }
      records.observe(url, absence(failure, askedAtMs));
    }
    this.#failures.delete(url);
    const observation = records.observation(url);
    if (observation?.info !== undefined) return observation.info;
    if (observation === undefined || records.rejectedAtMs(url) === Number.NEGATIVE_INFINITY) throw missing(url, observation);
    if (times < MAX_CONTRADICTIONS) return this.#ask(ref, { hasFallback, budget, contradicted: asked });
    throw new CacheError("UNAVAILABLE", `${url}: the object changes faster than the origin answers, try again`);
  }
}

function missing(url: string, observation: Observation | undefined): CacheError {
  return observation?.isBucketMissing === true
    ? new NoSuchBucket({ url })
    : new CacheError("NOT_FOUND", `${url}: no such object`);
}
