import { CacheError } from "@frontcache/proto";
import { LinkedAbort } from "@frontcache/proto/runtime";
import type { Clock } from "../runtime/clock.js";
import type { Permit } from "./origin-limits.js";

/** A request that may be sent twice. */
export interface HedgedWork<Answer> {
  /** Sends the request. Resolves when its answer starts. */
  readonly send: (signal: AbortSignal) => Promise<Answer>;
  /** Discards the answer that came second. */
  readonly discard: (answer: Answer) => void;
  /** Whether the answer continues after `send`: aborting the caller's signal must abort its body. */
  readonly hasBody: boolean;
  /** The caller's. */
  readonly signal: AbortSignal;
}

export interface HedgedRequestOptions<Answer> extends HedgedWork<Answer> {
  readonly clock: Clock;
  /** When the request counts as late; undefined: never. */
  readonly delayMs: number | undefined;
  readonly acquireExtra: () => Pick<Permit, "release"> | undefined;
  /** Milliseconds from the first request to the first answer. */
  readonly onAnswer: (ms: number) => void;
  readonly onThrottled: () => void;
  readonly onHedge: (hedge: { readonly afterMs: number; readonly won: boolean }) => void;
}

/**
 * One request that is sent again when it is late. The first answer or permanent error decides. After a transient error the
 * other request decides, if one runs. Once decided, the timer, the permit and the slower request are gone.
 */
export class HedgedRequest<Answer> {
  readonly #options: HedgedRequestOptions<Answer>;
  readonly #startedMs: number;
  readonly #running = new Set<LinkedAbort>();
  #extra: { readonly abort: LinkedAbort; readonly permit: Pick<Permit, "release">; readonly afterMs: number } | undefined;
  #failure: unknown;
  #isDecided = false;
  #cancelTimer: (() => void) | undefined;
  #resolve!: (answer: Answer) => void;
  #reject!: (error: unknown) => void;

  constructor(options: HedgedRequestOptions<Answer>) {
    this.#options = options;
    this.#startedMs = options.clock.monotonicMs();
  }

  /** Sends the request. Rejects with a CacheError: the permanent one, else the first transient one. */
  run(): Promise<Answer> {
    const { clock, delayMs } = this.#options;
    return new Promise((resolve, reject) => {
      [this.#resolve, this.#reject] = [resolve, reject];
      this.#send();
      if (delayMs !== undefined) this.#cancelTimer = clock.after(delayMs, () => this.#hedge());
    });
  }

  get #elapsedMs(): number {
    return this.#options.clock.monotonicMs() - this.#startedMs;
  }

  #hedge(): void {
    this.#cancelTimer = undefined;
    const permit = this.#options.acquireExtra();
    if (permit !== undefined) this.#extra = { permit, afterMs: this.#elapsedMs, abort: this.#send() };
  }

  #send(): LinkedAbort {
    const abort = new LinkedAbort(this.#options.signal);
    this.#running.add(abort);
    this.#options.send(abort.signal).then(
      (answer) => this.#answered(abort, answer),
      (error: unknown) => this.#failed(abort, error),
    );
    return abort;
  }

  #answered(abort: LinkedAbort, answer: Answer): void {
    if (this.#isDecided) {
      this.#options.discard(answer);
      return;
    }
    this.#running.delete(abort);
    if (!this.#options.hasBody) abort.unlink();
    this.#options.onAnswer(this.#elapsedMs);
    this.#decide(abort);
    this.#resolve(answer);
  }

  #failed(abort: LinkedAbort, error: unknown): void {
    abort.unlink();
    this.#running.delete(abort);
    if (this.#isDecided) return;
    const { code, retryable } = CacheError.from(error);
    if (code === "RESOURCE_EXHAUSTED") this.#options.onThrottled();
    this.#failure ??= error;
    if (retryable && this.#running.size > 0) return;
    this.#decide(abort);
    this.#reject(retryable ? this.#failure : error);
  }

  #decide(winner: LinkedAbort): void {
    this.#isDecided = true;
    this.#cancelTimer?.();
    for (const abort of this.#running)
      abort.abort(new CacheError("CANCELLED", "the other of two equal requests was answered first"));
    this.#running.clear();
    if (this.#extra === undefined) return;
    const { permit, afterMs, abort } = this.#extra;
    permit.release();
    this.#options.onHedge({ afterMs, won: winner === abort });
  }
}
