import { type BucketRef, CacheError, type ObjectInfo, type ObjectRef, type PrefixRef } from "@frontcache/proto";
import type { Clock, Random } from "../runtime/clock.js";
import { otherVersion } from "./answer.js";
import { Attempt, LinkedAbort } from "./attempt.js";
import type { Listing, ListPage, Origin, OriginAnswer, OriginRange, Patience } from "./origin.js";
import { RetryBudget, type RetryOptions } from "./retry-budget.js";

/** How requests are repeated. */
export interface RetryingOptions extends RetryOptions {
  /** In place of the others for who has little patience. */
  readonly hurried: Pick<RetryOptions, "attempts" | "headTimeoutMs">;
}

/** An answer with the attempt that it belongs to. */
interface Attempted {
  readonly answer: OriginAnswer;
  readonly attempt: Attempt;
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
      return this.#resuming(ref, range.offset, first, budget, life);
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

  #resuming(ref: ObjectRef, offset: number, first: Attempted, budget: RetryBudget, life: LinkedAbort): OriginAnswer {
    const { info, length } = first.answer;
    const { idleTimeoutMs } = this.#options;
    let current = first;
    const leave = (): void => {
      current.attempt.end();
      current.answer.destroy();
      life.unlink();
    };
    const resume = async (done: number): Promise<void> => {
      const rest = { offset: offset + done, length: length - done, version: info.version };
      current = await this.#request(ref, rest, budget, life.signal);
      if (current.answer.info.version !== info.version || current.answer.length !== rest.length)
        throw otherVersion(ref, info.version);
    };
    async function* body(): AsyncGenerator<Uint8Array> {
      let done = 0;
      try {
        for (;;) {
          try {
            current.attempt.wait(idleTimeoutMs);
            for await (const chunk of current.answer.body) {
              current.attempt.rest();
              done += chunk.length;
              budget.progress(chunk.length);
              yield chunk;
              current.attempt.wait(idleTimeoutMs);
            }
            return;
          } catch (error) {
            current.attempt.end();
            if (done === length) throw error; // all bytes came, and then something that should not have
            await budget.spend(error, life.signal);
          }
          await resume(done);
        }
      } finally {
        leave();
      }
    }
    return {
      info,
      length,
      body: body(),
      destroy: () => {
        leave();
        life.abort(new CacheError("CANCELLED", `${ref.url}: the origin's answer was dropped`));
      },
    };
  }

  #attempt(ref: BucketRef, signal: AbortSignal): Attempt {
    return new Attempt(signal, this.#clock, ref.url);
  }

  #budget(ref: BucketRef): RetryBudget {
    return new RetryBudget(this.#options, this.#clock, this.#random, ref.url);
  }
}
