import { type BucketRef, CacheError } from "@frontcache/proto";
import { BoundedMap, LinkedAbort } from "@frontcache/proto/runtime";
import type { Clock } from "../runtime/clock.js";
import {
  type AvailabilityChange,
  BucketAvailability,
  type OriginState,
  type PendingRequest,
  type SentRequest,
} from "./bucket-availability.js";
import { NoAnswer } from "./checked-answer.js";
import {
  type AnswerTo,
  type Origin,
  type OriginAnswer,
  type OriginQuestion,
  type OriginRequest,
  type OriginWrapper,
  withSignal,
  wrap,
} from "./origin.js";
import { dropAnswer } from "./passed-body.js";

export type { AvailabilityChange, OriginState } from "./bucket-availability.js";

/** What is known of the origins, by bucket. A bucket's scheme and name decide which endpoint is asked. */
export interface OriginStates {
  stateOf(ref: BucketRef): OriginState;
  /** Whether a question has any use now: an unavailable origin is probed once per PROBE_EVERY_MS, by whoever asks then. */
  isWorthAsking(ref: BucketRef): boolean;
}

export interface AvailabilityOptions {
  readonly clock: Clock;
  readonly onChange: (change: AvailabilityChange) => void;
}

/** Longer than an origin takes that is slow, but available. Further probes begin meanwhile. */
const PROBE_TIMEOUT_MS = 10_000;
/** Buckets that are remembered. */
const BUCKETS = 1_000;

type Asked = OriginRequest | OriginQuestion;

/** A request that is sent if its origin is available. */
interface Guarded<Answer> {
  readonly bucket: BucketAvailability;
  readonly request: Asked;
  send(): Promise<Answer>;
  readonly drop: Drop<Answer>;
  probe(): Promise<void>;
}

/** Takes an answer for which nobody waits any more. */
type Drop<Answer> = (answer: Answer) => void;

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
  readonly #buckets = new BoundedMap<string, BucketAvailability>(BUCKETS);

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
    return this.#buckets.peek(bucketOf(ref))?.state ?? "available";
  }

  isWorthAsking(ref: BucketRef): boolean {
    const bucket = this.#buckets.peek(bucketOf(ref));
    return bucket === undefined || !bucket.needsProbe || bucket.isProbeDue;
  }

  /** The wrappers of the origin at an endpoint. */
  wrappersOf(endpoint: string): { readonly guarded: OriginWrapper; readonly observed: OriginWrapper } {
    return { guarded: (next) => this.#guarded(next, endpoint), observed: (next) => this.#observed(next, endpoint) };
  }

  #observed(next: Origin, endpoint: string): Origin {
    return wrap(next, {
      fetch: (request) => {
        const bucket = this.#bucket(request.ref, endpoint);
        return observe(bucket, bucket.sent(), next.fetch(request));
      },
      ask: (question) => {
        const bucket = this.#bucket(question.ref, endpoint);
        return observe(bucket, bucket.sent(), next.ask(question));
      },
    });
  }

  #guarded(next: Origin, endpoint: string): Origin {
    const closing = new AbortController();
    const probe = (request: Asked) => this.#probe(next, request, closing.signal);
    return wrap(next, {
      fetch: (request) => {
        const bucket = this.#bucket(request.ref, endpoint);
        if (!bucket.needsProbe) return untilUnavailable(bucket, request, next.fetch(request), destroyBody);
        const send = () => next.fetch(request);
        return this.#afterProbe({ bucket, request, send, drop: destroyBody, probe: () => probe(request) });
      },
      ask: <Q extends OriginQuestion>(question: Q): Promise<AnswerTo<Q>> => {
        const bucket = this.#bucket(question.ref, endpoint);
        const drop = (answer: AnswerTo<Q>) => dropAnswer(question, answer);
        if (!bucket.needsProbe) return untilUnavailable(bucket, question, next.ask(question), drop);
        const send = () => next.ask(question);
        return this.#afterProbe({ bucket, request: question, send, drop, probe: () => probe(question) });
      },
      close() {
        closing.abort();
        next.close();
      },
    });
  }

  async #afterProbe<Answer>({ bucket, request, send, drop, probe }: Guarded<Answer>): Promise<Answer> {
    const { ref } = request;
    const isProbing = bucket.isProbeDue;
    if (isProbing) bucket.probed(probe());
    await bucket.untilProbed();
    if (bucket.needsProbe) {
      bucket.becomeUnavailable();
      throw bucket.unavailable(ref);
    }
    // The permit of the request was that of the probe. The request itself is one more.
    if (isProbing && request.permit?.next() === false) {
      throw request.budget?.finalError(ref.url) ?? bucket.unavailable(ref);
    }
    return untilUnavailable(bucket, request, send(), drop);
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

  #bucket(ref: BucketRef, endpoint: string): BucketAvailability {
    const name = bucketOf(ref);
    const known = this.#buckets.get(name);
    if (known !== undefined) return known;
    const bucket = new BucketAvailability(name, endpoint, this.#clock, this.#onChange);
    this.#buckets.set(name, bucket);
    return bucket;
  }
}

/** Settles as `answering` does, or rejects as soon as the origin becomes unavailable. */
function untilUnavailable<Answer>(
  bucket: BucketAvailability,
  { ref }: Asked,
  answering: Promise<Answer>,
  drop: Drop<Answer>,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const pending: PendingRequest = { reject: () => reject(bucket.unavailable(ref)), previous: undefined, next: undefined };
    bucket.pending.add(pending);
    answering.then(
      (answer) => {
        if (bucket.pending.delete(pending)) resolve(answer);
        else drop(answer);
      },
      (error: unknown) => {
        bucket.pending.delete(pending);
        reject(error); // does nothing if the origin became unavailable before
      },
    );
  });
}

/** Notices the answer to a request that was sent, or that no answer came. */
function observe<Answer>(bucket: BucketAvailability, request: SentRequest, answering: Promise<Answer>): Promise<Answer> {
  return answering.then(
    (answer) => {
      bucket.answered(request);
      bucket.ended(request);
      return answer;
    },
    (error: unknown) => {
      if (error instanceof NoAnswer) bucket.failed(error);
      else if (CacheError.from(error).code !== "CANCELLED") bucket.answered(request);
      bucket.ended(request);
      throw error;
    },
  );
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
