import type { BucketRef, ObjectInfo, ObjectRef, PrefixRef } from "@frontcache/proto";
import { LinkedAbort } from "@frontcache/proto/runtime";
import type { Clock, Random } from "../../runtime/clock.js";
import type { Listing, ListPage, Origin, OriginAnswer, OriginRange, Patience } from "../origin.js";
import { Attempt } from "./attempt.js";
import { type Attempted, ResumingBody } from "./resuming-body.js";
import { RetryBudget, type RetryOptions } from "./retry-budget.js";

/** How requests are repeated. */
export interface RetryingOptions extends RetryOptions {
  /** In place of the others for who has little patience. */
  readonly hurried: Pick<RetryOptions, "attempts" | "headTimeoutMs">;
}

/**
 * Repeats what may pass (throttling, resets, 5xx, stalls) on any origin. A body that breaks off or stalls goes on from its
 * last byte under the same version, unnoticed by its reader. RESOURCE_EXHAUSTED and UNAVAILABLE are final when they get out.
 */
export class RetryingOrigin implements Origin {
  readonly #origin: Origin;
  readonly #options: RetryingOptions;
  readonly #clock: Clock;
  readonly #random: Random;

  constructor(origin: Origin, options: RetryingOptions, clock: Clock, random: Random) {
    this.#origin = origin;
    this.#options = options;
    this.#clock = clock;
    this.#random = random;
  }

  async fetch(ref: ObjectRef, range: OriginRange, signal: AbortSignal): Promise<OriginAnswer> {
    const budget = this.#budget(ref);
    // One abort for the reader's signal and for `destroy`: it ends whatever runs or waits just then.
    const life = new LinkedAbort(signal);
    try {
      const first = await this.#request(ref, range, budget, life.signal);
      const { idleTimeoutMs } = this.#options;
      const request = (rest: OriginRange) => this.#request(ref, rest, budget, life.signal);
      return { ...first.answer, body: new ResumingBody({ ref, range, first, request, budget, life, idleTimeoutMs }) };
    } catch (error) {
      life.unlink();
      throw error;
    }
  }

  stat(ref: ObjectRef, signal: AbortSignal, patience: Patience = "full"): Promise<ObjectInfo> {
    const options = patience === "little" ? { ...this.#options, ...this.#options.hurried } : this.#options;
    return this.#repeat(ref, signal, (own) => this.#origin.stat(ref, own), options);
  }

  list(ref: PrefixRef, page: ListPage, signal: AbortSignal): Promise<Listing> {
    return this.#repeat(ref, signal, (own) => this.#origin.list(ref, page, own));
  }

  statBucket(ref: BucketRef, signal: AbortSignal): Promise<void> {
    return this.#repeat(ref, signal, (own) => this.#origin.statBucket(ref, own));
  }

  close(): void {
    this.#origin.close();
  }

  /** Asks until there is an answer, which is whole when it comes. */
  async #repeat<Answer>(
    ref: BucketRef,
    signal: AbortSignal,
    ask: (signal: AbortSignal) => Promise<Answer>,
    options: RetryOptions = this.#options,
  ): Promise<Answer> {
    const budget = new RetryBudget(options, this.#clock, this.#random, ref.url);
    for (;;) {
      const attempt = this.#attempt(ref, signal);
      attempt.wait(options.headTimeoutMs);
      try {
        return await ask(attempt.signal);
      } catch (error) {
        attempt.end();
        await budget.spend(error, signal);
      } finally {
        attempt.end();
      }
    }
  }

  /** Asks until there is an answer. */
  async #request(ref: ObjectRef, range: OriginRange, budget: RetryBudget, signal: AbortSignal): Promise<Attempted> {
    for (;;) {
      const attempt = this.#attempt(ref, signal);
      attempt.wait(this.#options.headTimeoutMs);
      try {
        const answer = await this.#origin.fetch(ref, range, attempt.signal);
        attempt.rest();
        return { answer, attempt };
      } catch (error) {
        attempt.end();
        await budget.spend(error, signal);
      }
    }
  }

  #attempt(ref: BucketRef, signal: AbortSignal): Attempt {
    return new Attempt(signal, this.#clock, ref.url);
  }

  #budget(ref: BucketRef): RetryBudget {
    return new RetryBudget(this.#options, this.#clock, this.#random, ref.url);
  }
}
