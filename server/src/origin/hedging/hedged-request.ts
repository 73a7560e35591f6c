import { CacheError } from "@frontcache/proto";
import { LinkedAbort } from "@frontcache/proto/runtime";
import type { Clock } from "../../runtime/clock.js";
import type { Permit } from "../limits/origin-limits.js";

export interface HedgedRequestOptions<Answer> {
  /** Sends the request. Resolves when its answer begins. */
  readonly ask: (signal: AbortSignal) => Promise<Answer>;
  /** Throws away the answer that came second. */
  readonly drop: (answer: Answer) => void;
  /** Whether an answer goes on after `ask` and must be cut when the reader's signal is aborted. */
  readonly outlives: boolean;
  /** The reader's. */
  readonly signal: AbortSignal;
  readonly clock: Clock;
  /** When the request counts as late; undefined: never. */
  readonly delayMs: number | undefined;
  readonly admitExtra: () => Pick<Permit, "release"> | undefined;
  /** How long the first request took to its answer, or had taken when the other one's came. */
  readonly onAnswer: (ms: number) => void;
  readonly onThrottled: () => void;
  readonly onHedge: (hedge: { readonly afterMs: number; readonly won: boolean }) => void;
}

/**
 * One request that is sent again when it is late. The first answer decides, a refusal for good included; a failure that may
 * pass leaves it to the other request where one runs. When it is decided, timer, permit and the slower request are gone.
 */
export class HedgedRequest<Answer> {
  readonly #options: HedgedRequestOptions<Answer>;
  readonly #beganMs: number;
  readonly #running = new Set<LinkedAbort>();
  #extra: { readonly abort: LinkedAbort; readonly permit: Pick<Permit, "release">; readonly afterMs: number } | undefined;
  #failure: unknown;
  #decided = false;
  #cancelTimer: (() => void) | undefined;
  #resolve!: (answer: Answer) => void;
  #reject!: (error: unknown) => void;

  constructor(options: HedgedRequestOptions<Answer>) {
    this.#options = options;
    this.#beganMs = options.clock.monotonicMs();
  }

  /** Sends it. Rejects with a CacheError: the decisive one, else the one that came first. */
  run(): Promise<Answer> {
    const { clock, delayMs } = this.#options;
    return new Promise((resolve, reject) => {
      [this.#resolve, this.#reject] = [resolve, reject];
      this.#send();
      if (delayMs !== undefined) this.#cancelTimer = clock.after(delayMs, () => this.#hedge());
    });
  }

  get #elapsedMs(): number {
    return this.#options.clock.monotonicMs() - this.#beganMs;
  }

  #hedge(): void {
    this.#cancelTimer = undefined;
    const permit = this.#options.admitExtra();
    if (permit !== undefined) this.#extra = { permit, afterMs: this.#elapsedMs, abort: this.#send() };
  }

  #send(): LinkedAbort {
    const abort = new LinkedAbort(this.#options.signal);
    this.#running.add(abort);
    this.#options.ask(abort.signal).then(
      (answer) => this.#answered(abort, answer),
      (error: unknown) => this.#failed(abort, error),
    );
    return abort;
  }

  #answered(abort: LinkedAbort, answer: Answer): void {
    if (this.#decided) {
      this.#options.drop(answer);
      return;
    }
    this.#running.delete(abort);
    if (!this.#options.outlives) abort.unlink();
    this.#options.onAnswer(this.#elapsedMs);
    this.#decide(abort);
    this.#resolve(answer);
  }

  #failed(abort: LinkedAbort, error: unknown): void {
    abort.unlink();
    this.#running.delete(abort);
    if (this.#decided) return;
    const { code, retryable } = CacheError.from(error);
    if (code === "RESOURCE_EXHAUSTED") this.#options.onThrottled();
    this.#failure ??= error;
    if (retryable && this.#running.size > 0) return;
    this.#decide(abort);
    this.#reject(retryable ? this.#failure : error);
  }

  #decide(winner: LinkedAbort): void {
    this.#decided = true;
    this.#cancelTimer?.();
    for (const abort of this.#running) abort.abort(new CacheError("CANCELLED", "the same request was answered faster"));
    this.#running.clear();
    if (this.#extra === undefined) return;
    const { permit, afterMs, abort } = this.#extra;
    permit.release();
    this.#options.onHedge({ afterMs, won: winner === abort });
  }
}
