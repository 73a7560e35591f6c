import { type BucketRef, CacheError } from "@frontcache/proto";
import { BoundedMap, type Linked, LinkedAbort, LinkedList } from "@frontcache/proto/runtime";
import type { Clock } from "../runtime/clock.js";
import { NoAnswer, OriginUnavailable } from "./checked-answer.js";
import {
  type Origin,
  type OriginAnswer,
  type OriginQuestion,
  type OriginRequest,
  type OriginWrapper,
  withSignal,
  wrap,
} from "./origin.js";
import { dropAnswer } from "./passed-body.js";

/** What to expect of a bucket's origin: answers, late answers, or none. */
export type OriginState = "available" | "slow" | "unavailable";

/** What is known of the origins, by bucket. A bucket's scheme and name decide which endpoint is asked. */
export interface OriginStates {
  stateOf(ref: BucketRef): OriginState;
  /** Whether a question has any use now: an unavailable origin is probed once per PROBE_EVERY_MS, by whoever asks then. */
  isWorthAsking(ref: BucketRef): boolean;
}

/** An origin has become unavailable, or available again. */
export interface AvailabilityChange {
  /** `<scheme>://<bucket>` */
  readonly bucket: string;
  readonly endpoint: string;
  readonly isAvailable: boolean;
  /** The failure that made it unavailable. */
  readonly error: CacheError | undefined;
}

export interface AvailabilityOptions {
  readonly clock: Clock;
  readonly onChange: (change: AvailabilityChange) => void;
}

/** After this many requests in a row without any answer a probe decides: a store may have closed connections that it kept open. */
const FAILURES = 2;
/** A later answer is late. */
const LATE_AFTER_MS = 250;
/** Late answers in a row that make an origin slow, and how long they count. */
const LATE_ANSWERS = 3;
const LATE_FOR_MS = 10_000;
const PROBE_EVERY_MS = 1_000;
/** Longer than an origin takes that is slow, but available. Further probes begin meanwhile. */
const PROBE_TIMEOUT_MS = 10_000;
/** A request waits for a probe's answer until the probe is so old, and fails then. */
const PROBE_WAIT_MS = 250;
/** Buckets that are remembered. */
const BUCKETS = 1_000;

type Asked = OriginRequest | OriginQuestion;

/** A request that is sent if its origin is available. */
interface Guarded<Answer> {
  readonly state: BucketState;
  readonly request: Asked;
  send(): Promise<Answer>;
  /** Takes an answer for which nobody waits any more. */
  drop(answer: Answer): void;
  probe(): Promise<void>;
}

/** The newest probe of a bucket. */
interface Probe {
  readonly begunMs: number;
  readonly ended: Promise<void>;
}

interface SentRequest extends Linked<SentRequest> {
  readonly sentMs: number;
}

interface PendingRequest extends Linked<PendingRequest> {
  readonly reject: () => void;
}

/** What is known of one bucket's origin. */
class BucketState {
  readonly bucket: string;
  readonly endpoint: string;
  /** When the requests without an answer were sent, the oldest first. */
  readonly waiting = new LinkedList<SentRequest>();
  /** Rejects requests that wait for an answer, when the origin becomes unavailable. */
  readonly pending = new LinkedList<PendingRequest>();
  /** Requests without an answer since the last answer. */
  failures = 0;
  lastFailure: CacheError | undefined;
  lateAnswers = 0;
  lastLateMs = Number.NEGATIVE_INFINITY;
  lastAnswerMs: number;
  isAvailable = true;
  probe: Probe | undefined;

  constructor(bucket: string, endpoint: string, nowMs: number) {
    this.bucket = bucket;
    this.endpoint = endpoint;
    this.lastAnswerMs = nowMs;
  }
}

/**
 * Knows which origins are available, from the requests that are sent anyway. Two wrappers of an origin work together:
 * - `observed` stands next to the store and notices each answer, and each request without one.
 * - `guarded` stands inside of the retries. While the origin of a bucket is unavailable it sends nothing and rejects at once, except
 *   for one probe per second. When an origin becomes unavailable, it rejects the requests that are waiting for it.
 * Nothing runs at rest: a probe is sent when somebody asks.
 */
export class OriginAvailability implements OriginStates {
  readonly #clock: Clock;
  readonly #onChange: (change: AvailabilityChange) => void;
  readonly #buckets = new BoundedMap<string, BucketState>(BUCKETS);

  constructor({ clock, onChange }: AvailabilityOptions) {
    this.#clock = clock;
    this.#onChange = onChange;
  }

  /** Buckets whose origin is unavailable. */
  get unavailable(): number {
    let count = 0;
    for (const [, { isAvailable }] of this.#buckets) if (!isAvailable) count++;
    return count;
  }

  stateOf(ref: BucketRef): OriginState {
    const state = this.#buckets.peek(bucketOf(ref));
    if (state === undefined) return "available";
    if (!state.isAvailable) return "unavailable";
    return state.failures >= FAILURES || this.#lateAnswers(state) >= LATE_ANSWERS ? "slow" : "available";
  }

  isWorthAsking(ref: BucketRef): boolean {
    const state = this.#buckets.peek(bucketOf(ref));
    return state === undefined || state.failures < FAILURES || this.#isProbeDue(state);
  }

  /** The wrappers of the origin at an endpoint. */
  wrappersOf(endpoint: string): { readonly guarded: OriginWrapper; readonly observed: OriginWrapper } {
    return { guarded: (next) => this.#guarded(next, endpoint), observed: (next) => this.#observed(next, endpoint) };
  }

  #observed(next: Origin, endpoint: string): Origin {
    return wrap(next, {
      fetch: (request) => this.#observe(this.#state(request.ref, endpoint), () => next.fetch(request)),
      ask: (question) => this.#observe(this.#state(question.ref, endpoint), () => next.ask(question)),
    });
  }

  #guarded(next: Origin, endpoint: string): Origin {
    const closing = new AbortController();
    const guard = <Answer>(request: Asked, send: () => Promise<Answer>, drop: (answer: Answer) => void) => {
      const state = this.#state(request.ref, endpoint);
      return this.#guard({ state, request, send, drop, probe: () => this.#probe(next, request, closing.signal) });
    };
    return wrap(next, {
      fetch: (request) => guard(request, () => next.fetch(request), destroyBody),
      ask: (question) =>
        guard(
          question,
          () => next.ask(question),
          (answer) => dropAnswer(question, answer),
        ),
      close() {
        closing.abort();
        next.close();
      },
    });
  }

  async #observe<Answer>(state: BucketState, send: () => Promise<Answer>): Promise<Answer> {
    const request = { sentMs: this.#clock.monotonicMs() };
    state.waiting.add(request);
    try {
      const answer = await send();
      this.#answered(state, request.sentMs);
      return answer;
    } catch (error) {
      if (error instanceof NoAnswer) this.#failed(state, error);
      else if (CacheError.from(error).code !== "CANCELLED") this.#answered(state, request.sentMs);
      throw error;
    } finally {
      state.waiting.delete(request);
    }
  }

  #guard<Answer>(guarded: Guarded<Answer>): Promise<Answer> {
    return guarded.state.failures >= FAILURES ? this.#afterProbe(guarded) : this.#sendGuarded(guarded);
  }

  async #afterProbe<Answer>(guarded: Guarded<Answer>): Promise<Answer> {
    const { state, request, probe } = guarded;
    const { ref } = request;
    const isProbing = this.#isProbeDue(state);
    if (isProbing) state.probe = { begunMs: this.#clock.monotonicMs(), ended: probe() };
    await this.#untilProbed(state);
    if (state.failures >= FAILURES) {
      this.#becomeUnavailable(state);
      throw this.#unavailable(ref, state);
    }
    // The permit of the request was that of the probe. The request itself is one more.
    if (isProbing && request.permit?.next() === false) {
      throw request.budget?.finalError(ref.url) ?? this.#unavailable(ref, state);
    }
    return this.#sendGuarded(guarded);
  }

  /** Sends a request, which is rejected when its origin becomes unavailable. */
  #sendGuarded<Answer>({ state, request, send, drop }: Guarded<Answer>): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const pending: PendingRequest = { reject: () => reject(this.#unavailable(request.ref, state)) };
      state.pending.add(pending);
      send().then(
        (answer) => {
          if (state.pending.delete(pending)) resolve(answer);
          else drop(answer);
        },
        (error: unknown) => {
          state.pending.delete(pending);
          reject(error); // does nothing if the origin became unavailable before
        },
      );
    });
  }

  #isProbeDue({ probe }: BucketState): boolean {
    return probe === undefined || this.#clock.monotonicMs() - probe.begunMs >= PROBE_EVERY_MS;
  }

  /** Resolves when the probe has ended, or has run for PROBE_WAIT_MS. */
  #untilProbed({ probe }: BucketState): Promise<void> | undefined {
    const leftMs = probe === undefined ? 0 : probe.begunMs + PROBE_WAIT_MS - this.#clock.monotonicMs();
    if (leftMs <= 0) return undefined;
    return new Promise((resolve) => {
      const cancel = this.#clock.after(leftMs, resolve);
      void probe!.ended.then(resolve).finally(cancel);
    });
  }

  /** Asks the origin, whoever waits for it. `observed` notices the answer. */
  async #probe(next: Origin, request: Asked, closing: AbortSignal): Promise<void> {
    const abort = new LinkedAbort(closing);
    const timeout = (): void => abort.abort(new NoAnswer(request.ref, `sent nothing for ${PROBE_TIMEOUT_MS} ms`));
    const cancel = this.#clock.after(PROBE_TIMEOUT_MS, timeout);
    try {
      await next.ask(withSignal(questionOf(request), abort.signal));
    } catch {
      // `observed` has noticed whether it was an answer.
    } finally {
      cancel();
      abort.unlink();
    }
  }

  #answered(state: BucketState, sentMs: number): void {
    const nowMs = this.#clock.monotonicMs();
    const isLate = nowMs - sentMs > LATE_AFTER_MS;
    state.lateAnswers = isLate ? this.#recentLateAnswers(state) + 1 : 0;
    if (isLate) state.lastLateMs = nowMs;
    state.lastAnswerMs = nowMs;
    state.failures = 0;
    if (state.isAvailable) return;
    state.isAvailable = true;
    state.probe = undefined;
    const { bucket, endpoint } = state;
    this.#onChange({ bucket, endpoint, isAvailable: true, error: undefined });
  }

  #failed(state: BucketState, error: CacheError): void {
    state.failures++;
    state.lastFailure = error;
  }

  #becomeUnavailable(state: BucketState): void {
    if (!state.isAvailable) return;
    state.isAvailable = false;
    const { bucket, endpoint, lastFailure } = state;
    this.#onChange({ bucket, endpoint, isAvailable: false, error: lastFailure });
    for (let pending = state.pending.shift(); pending !== undefined; pending = state.pending.shift()) pending.reject();
  }

  #unavailable(ref: BucketRef, { endpoint, lastAnswerMs, lastFailure }: BucketState): CacheError {
    return new OriginUnavailable(ref, endpoint, this.#clock.monotonicMs() - lastAnswerMs, lastFailure!);
  }

  /** Late answers in a row, those that are still to come included. */
  #lateAnswers(state: BucketState): number {
    const nowMs = this.#clock.monotonicMs();
    let count = this.#recentLateAnswers(state);
    for (let sent = state.waiting.first; sent !== undefined; sent = sent.next) {
      if (nowMs - sent.sentMs <= LATE_AFTER_MS || ++count >= LATE_ANSWERS) break;
    }
    return count;
  }

  #recentLateAnswers({ lateAnswers, lastLateMs }: BucketState): number {
    return this.#clock.monotonicMs() - lastLateMs > LATE_FOR_MS ? 0 : lateAnswers;
  }

  #state(ref: BucketRef, endpoint: string): BucketState {
    const bucket = bucketOf(ref);
    const known = this.#buckets.get(bucket);
    if (known !== undefined) return known;
    const state = new BucketState(bucket, endpoint, this.#clock.monotonicMs());
    this.#buckets.set(bucket, state);
    return state;
  }
}

function bucketOf({ scheme, bucket }: BucketRef): string {
  return `${scheme}://${bucket}`;
}

/** A question that shows whether the origin answers: what was asked, or a HEAD of the object or bucket. */
function questionOf(request: Asked): OriginQuestion {
  // It is not repeated, and the permit of the request that waits for it counts for it.
  if ("kind" in request && request.kind !== "pass")
    return { ...request, budget: undefined, permit: undefined, isNeeded: undefined };
  const { ref, signal, principal } = request;
  return "key" in ref
    ? { kind: "stat", ref, hasFallback: true, signal, principal }
    : { kind: "statBucket", ref, signal, principal };
}

function destroyBody({ body }: OriginAnswer): void {
  body.destroy();
}
