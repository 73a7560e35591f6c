import type { ObjectInfo, ObjectRef } from "@frontcache/proto";
import type { Origin, OriginAnswer, OriginRange } from "./origin.js";
import type { OriginLimits, Permit } from "./origin-limits.js";

/** An origin behind this member's limits. Stands inside of what repeats requests, so that repeated ones count, too. */
export class LimitedOrigin implements Origin {
  readonly #origin: Origin;
  readonly #limits: OriginLimits;

  constructor(origin: Origin, limits: OriginLimits) {
    this.#origin = origin;
    this.#limits = limits;
  }

  async fetch(ref: ObjectRef, range: OriginRange, signal: AbortSignal): Promise<OriginAnswer> {
    const permit = await this.#limits.admit(ref.url, range.length, signal);
    try {
      const answer = await this.#origin.fetch(ref, range, signal);
      permit.correct(answer.length);
      return held(answer, permit);
    } catch (error) {
      permit.correct(0);
      permit.release();
      throw error;
    }
  }

  async stat(ref: ObjectRef, signal: AbortSignal): Promise<ObjectInfo> {
    const permit = await this.#limits.admit(ref.url, 0, signal);
    try {
      return await this.#origin.stat(ref, signal);
    } finally {
      permit.release();
    }
  }

  close(): void {
    this.#origin.close();
  }
}

/** The answer, holding its permit until its end. */
function held(answer: OriginAnswer, permit: Permit): OriginAnswer {
  async function* body(): AsyncGenerator<Uint8Array> {
    try {
      yield* answer.body;
    } finally {
      permit.release();
    }
  }
  return {
    info: answer.info,
    length: answer.length,
    body: body(),
    destroy: () => {
      answer.destroy();
      permit.release();
    },
  };
}
