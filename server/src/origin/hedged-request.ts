import { CacheError } from "@frontcache/proto";
import { LinkedAbort } from "@frontcache/proto/runtime";
import type { Clock } from "../runtime/clock.js";
import type { FirstByteTimes, HedgeBudget, HedgeOptions } from "./hedged.js";
import { mayAddRequest, type OriginRequest, type StatQuestion } from "./origin.js";
import type { Permit } from "./origin-limits.js";

/** One kind of requests that may be sent twice. */
export interface HedgedWork<Request, Answer> {
  readonly clock: Clock;
  readonly options: HedgeOptions;
  readonly budget: HedgeBudget;
  readonly times: FirstByteTimes;
  /** Resolves when its answer starts. */
  readonly send: (request: Request, signal: AbortSignal) => Promise<Answer>;
  /** Discards the answer that came second. */
  readonly discard: (answer: Answer) => void;
  /** Whether the answer continues after `send`: aborting the caller's signal must abort its body. */
  readonly hasBody: boolean;
}

/** The extra request. */
interface Extra {
  readonly abort: LinkedAbort;
  readonly permit: Pick<Permit, "release">;
  readonly afterMs: number;
}

/**
 * One request that is sent again when it is late. The first answer or permanent error decides. After a transient error the
 * other request decides, if one runs. Once decided, the timer, the permit and the slower request are gone.
 */
export class HedgedRequest<Request extends OriginRequest | StatQuestion, Answer> {
  readonly #work: HedgedWork<Request, Answer>;
  readonly #request: Request;
  readonly #startedMs: number;
  readonly #first: LinkedAbort;
  #isFirstRunning = true;
  #extra: Extra | undefined;
  #isExtraRunning = false;
  #failure: unknown;
  #isDecided = false;
  #cancelTimer: (() => void) | undefined;
  #resolve!: (answer: Answer) => void;
  #reject!: (error: unknown) => void;

  constructor(work: HedgedWork<Request, Answer>, request: Request) {
    this.#work = work;
    this.#request = request;
    this.#startedMs = work.clock.monotonicMs();
    this.#first = new LinkedAbort(request.signal);
  }

  /** Sends the request. Rejects with a CacheError: the permanent one, else the first transient one. */
  run(): Promise<Answer> {
    const { clock, options, budget, times } = this.#work;
    const { p95Ms } = times;
    budget.earn();
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
      this.#send(this.#first);
      if (p95Ms !== undefined) this.#cancelTimer = clock.after(Math.max(options.minDelayMs, p95Ms), () => this.#hedge());
    });
  }

  get #elapsedMs(): number {
    return this.#work.clock.monotonicMs() - this.#startedMs;
  }

  #hedge(): void {
    this.#cancelTimer = undefined;
    const permit = this.#acquireExtra();
    if (permit === undefined) return;
    const abort = new LinkedAbort(this.#request.signal);
    this.#extra = { permit, afterMs: this.#elapsedMs, abort };
    this.#isExtraRunning = true;
    this.#send(abort);
  }

  #acquireExtra(): Pick<Permit, "release"> | undefined {
    const { options, budget } = this.#work;
    const permit = options.acquireExtra();
    if (permit === undefined || (budget.spend() && mayAddRequest(this.#request))) return permit;
    permit.release();
    return undefined;
  }

  #send(abort: LinkedAbort): void {
    this.#work.send(this.#request, abort.signal).then(
      (answer) => this.#answered(abort, answer),
      (error: unknown) => this.#failed(abort, error),
    );
  }

  #answered(abort: LinkedAbort, answer: Answer): void {
    const { discard, hasBody, times } = this.#work;
    if (this.#isDecided) {
      discard(answer);
      return;
    }
    this.#ended(abort);
    if (!hasBody) abort.unlink();
    times.record(this.#elapsedMs);
    this.#decide(abort);
    this.#resolve(answer);
  }

  #failed(abort: LinkedAbort, error: unknown): void {
    abort.unlink();
    this.#ended(abort);
    if (this.#isDecided) return;
    const { code, retryable } = CacheError.from(error);
    if (code === "RESOURCE_EXHAUSTED") this.#work.budget.clear();
    this.#failure ??= error;
    if (retryable && (this.#isFirstRunning || this.#isExtraRunning)) return;
    this.#decide(abort);
    this.#reject(retryable ? this.#failure : error);
  }

  #ended(abort: LinkedAbort): void {
    if (abort === this.#first) this.#isFirstRunning = false;
    else this.#isExtraRunning = false;
  }

  #decide(winner: LinkedAbort): void {
    this.#isDecided = true;
    this.#cancelTimer?.();
    if (this.#extra === undefined) return;
    const { permit, afterMs, abort } = this.#extra;
    if (this.#isFirstRunning) this.#first.abort(new SecondAnswer());
    if (this.#isExtraRunning) abort.abort(new SecondAnswer());
    permit.release();
    this.#work.options.onHedge({ url: this.#request.ref.url, afterMs, won: winner === abort });
  }
}

/** Why the slower request is aborted. */
class SecondAnswer extends CacheError {
  constructor() {
    super("CANCELLED", "the other of two equal requests was answered first");
  }
}
