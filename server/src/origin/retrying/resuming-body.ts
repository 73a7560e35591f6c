import { CacheError, type ObjectRef } from "@frontcache/proto";
import type { LinkedAbort } from "@frontcache/proto/runtime";
import { otherVersion } from "../answer.js";
import type { Landing } from "../landing.js";
import type { OriginAnswer, OriginBody, OriginRange } from "../origin.js";
import type { Attempt } from "./attempt.js";
import type { RetryBudget } from "./retry-budget.js";

/** An answer with the attempt that it belongs to. */
export interface Attempted {
  readonly answer: OriginAnswer;
  readonly attempt: Attempt;
}

/** What a body needs to go on where an answer ends early. */
export interface ResumingBodyOptions {
  readonly ref: ObjectRef;
  /** As asked for at first. */
  readonly range: OriginRange;
  readonly first: Attempted;
  /** Asks until there is an answer to the rest. */
  readonly request: (rest: OriginRange) => Promise<Attempted>;
  readonly budget: RetryBudget;
  /** Ends whatever runs or waits; the signal of all attempts. */
  readonly life: LinkedAbort;
  /** A body that does not move for so long has failed. */
  readonly idleTimeoutMs: number;
}

/** A body that goes on from its last byte under the same version where it breaks off or stalls, unnoticed by its reader. */
export class ResumingBody implements OriginBody {
  readonly #options: ResumingBodyOptions;
  #current: Attempted;
  #done = 0;

  constructor(options: ResumingBodyOptions) {
    this.#options = options;
    this.#current = options.first;
  }

  async land(landing: Landing): Promise<void> {
    const { budget, idleTimeoutMs } = this.#options;
    const landed = (bytes: number): void => {
      this.#done += bytes;
      budget.progress(bytes);
      this.#current.attempt.wait(idleTimeoutMs);
      landing.landed(bytes);
    };
    try {
      while (!(await this.#landCurrent({ room: () => landing.room(), landed }))) await this.#resume();
    } finally {
      this.#leave();
    }
  }

  destroy(): void {
    const { ref, life } = this.#options;
    this.#leave();
    life.abort(new CacheError("CANCELLED", `${ref.url}: the origin's answer was dropped`));
  }

  /** False: the answer ended early, and the rest may be asked for. */
  async #landCurrent(landing: Landing): Promise<boolean> {
    const { budget, life, first, idleTimeoutMs } = this.#options;
    const { answer, attempt } = this.#current;
    try {
      attempt.wait(idleTimeoutMs);
      await answer.body.land(landing);
      return true;
    } catch (error) {
      attempt.end();
      if (this.#done === first.answer.length) throw error; // all bytes came, and then something that should not have
      await budget.spend(error, life.signal);
      return false;
    }
  }

  async #resume(): Promise<void> {
    const { ref, range, first, request } = this.#options;
    const { info, length } = first.answer;
    const rest = { offset: range.offset + this.#done, length: length - this.#done, version: info.version };
    this.#current = await request(rest);
    const { answer } = this.#current;
    if (answer.info.version !== info.version || answer.length !== rest.length) throw otherVersion(ref, info.version);
  }

  #leave(): void {
    const { attempt, answer } = this.#current;
    attempt.end();
    answer.body.destroy();
    this.#options.life.unlink();
  }
}
