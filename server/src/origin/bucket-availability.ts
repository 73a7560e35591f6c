import type { BucketRef, CacheError } from "@frontcache/proto";
import { type Linked, LinkedList } from "@frontcache/proto/runtime";
import type { Clock } from "../runtime/clock.js";
import { OriginUnavailable } from "./checked-answer.js";

/** What to expect of a bucket's origin: answers, late answers, or none. */
export type OriginState = "available" | "slow" | "unavailable";

/** An origin has become unavailable, or available again. */
export interface AvailabilityChange {
  /** `<scheme>://<bucket>` */
  readonly bucket: string;
  readonly endpoint: string;
  readonly isAvailable: boolean;
  /** The failure that made it unavailable. */
  readonly error: CacheError | undefined;
}

/** After this many requests in a row without any answer a probe decides: a store may have closed connections that it kept open. */
const FAILURES = 2;
/** A later answer is late. */
const LATE_AFTER_MS = 250;
/** Late answers in a row that make an origin slow, and how long they count. */
const LATE_ANSWERS = 3;
const LATE_FOR_MS = 10_000;
const PROBE_EVERY_MS = 1_000;
/** A request waits for a probe's answer until the probe is so old, and fails then. */
const PROBE_WAIT_MS = 250;

/** A request without an answer. */
export interface SentRequest extends Linked<SentRequest> {
  readonly sentMs: number;
}

/** A caller that waits for an answer. */
export interface PendingRequest extends Linked<PendingRequest> {
  readonly reject: () => void;
}

/** The newest probe. */
interface Probe {
  readonly begunMs: number;
  readonly ended: Promise<void>;
}

/** What is known of one bucket's origin. It counts; OriginAvailability sends. */
export class BucketAvailability {
  /** Callers that are rejected when the origin becomes unavailable. */
  readonly pending = new LinkedList<PendingRequest>();
  readonly #name: string;
  readonly #endpoint: string;
  readonly #clock: Clock;
  readonly #onChange: (change: AvailabilityChange) => void;
  /** Requests without an answer, the oldest first. */
  readonly #waiting = new LinkedList<SentRequest>();
  /** Requests without an answer since the last answer. */
  #failures = 0;
  #lastFailure: CacheError | undefined;
  #lateAnswers = 0;
  #lastLateMs = Number.NEGATIVE_INFINITY;
  #lastAnswerMs: number;
  #isAvailable = true;
  #probe: Probe | undefined;

  constructor(name: string, endpoint: string, clock: Clock, onChange: (change: AvailabilityChange) => void) {
    this.#name = name;
    this.#endpoint = endpoint;
    this.#clock = clock;
    this.#onChange = onChange;
    this.#lastAnswerMs = clock.monotonicMs();
  }

  get isAvailable(): boolean {
    return this.#isAvailable;
  }

  get state(): OriginState {
    if (!this.#isAvailable) return "unavailable";
    return this.needsProbe || this.#countLateAnswers() >= LATE_ANSWERS ? "slow" : "available";
  }

  /** Whether a probe decides before a request is sent. */
  get needsProbe(): boolean {
    return this.#failures >= FAILURES;
  }

  get isProbeDue(): boolean {
    return this.#probe === undefined || this.#clock.monotonicMs() - this.#probe.begunMs >= PROBE_EVERY_MS;
  }

  /** A probe was sent. */
  probed(ended: Promise<void>): void {
    this.#probe = { begunMs: this.#clock.monotonicMs(), ended };
  }

  /** Resolves when the probe has ended, or has run for PROBE_WAIT_MS. */
  untilProbed(): Promise<void> | undefined {
    const probe = this.#probe;
    const leftMs = probe === undefined ? 0 : probe.begunMs + PROBE_WAIT_MS - this.#clock.monotonicMs();
    if (leftMs <= 0) return undefined;
    return new Promise((resolve) => {
      const cancel = this.#clock.after(leftMs, resolve);
      void probe!.ended.then(resolve).finally(cancel);
    });
  }

  /** A request is sent. `ended` must follow. */
  sent(): SentRequest {
    const request: SentRequest = { sentMs: this.#clock.monotonicMs(), previous: undefined, next: undefined };
    this.#waiting.add(request);
    return request;
  }

  ended(request: SentRequest): void {
    this.#waiting.delete(request);
  }

  answered({ sentMs }: SentRequest): void {
    const nowMs = this.#clock.monotonicMs();
    const isLate = nowMs - sentMs > LATE_AFTER_MS;
    this.#lateAnswers = isLate ? this.#recentLateAnswers + 1 : 0;
    if (isLate) this.#lastLateMs = nowMs;
    this.#lastAnswerMs = nowMs;
    this.#failures = 0;
    if (this.#isAvailable) return;
    this.#isAvailable = true;
    this.#probe = undefined;
    this.#onChange({ bucket: this.#name, endpoint: this.#endpoint, isAvailable: true, error: undefined });
  }

  /** A request got no answer. */
  failed(error: CacheError): void {
    this.#failures++;
    this.#lastFailure = error;
  }

  /** Rejects all callers that wait. */
  becomeUnavailable(): void {
    if (!this.#isAvailable) return;
    this.#isAvailable = false;
    this.#onChange({ bucket: this.#name, endpoint: this.#endpoint, isAvailable: false, error: this.#lastFailure });
    for (let pending = this.pending.shift(); pending !== undefined; pending = this.pending.shift()) pending.reject();
  }

  /** The error of a request that is not sent. */
  unavailable(ref: BucketRef): CacheError {
    const silentMs = this.#clock.monotonicMs() - this.#lastAnswerMs;
    return new OriginUnavailable(ref, this.#endpoint, silentMs, this.#lastFailure!);
  }

  /** Late answers in a row, those that are still to come included. */
  #countLateAnswers(): number {
    const nowMs = this.#clock.monotonicMs();
    let count = this.#recentLateAnswers;
    for (let sent = this.#waiting.first; sent !== undefined; sent = sent.next) {
      if (nowMs - sent.sentMs <= LATE_AFTER_MS || ++count >= LATE_ANSWERS) break;
    }
    return count;
  }

  get #recentLateAnswers(): number {
    return this.#clock.monotonicMs() - this.#lastLateMs > LATE_FOR_MS ? 0 : this.#lateAnswers;
  }
}
