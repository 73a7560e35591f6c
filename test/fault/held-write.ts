import type { Origin } from "@frontcache/server";
import { wrap } from "@frontcache/server/testing";
import type { BrokenRules, ObjectCalls } from "../sim/simulated-member.js";

/** Where a write is held. */
export type WriteStep =
  | "before the home hears of it"
  | "before the origin gets it"
  | "while the origin takes it"
  | "after the origin took it"
  | "before the home hears that it was taken";

/** Holds the first write of a simulated cluster at one step, until it is released or forever. */
export class HeldWrite {
  readonly #step: WriteStep;
  #isReached = false;
  #reach!: () => void;
  #release!: () => void;
  /** Resolves when the write is held. */
  readonly reached = new Promise<void>((resolve) => {
    this.#reach = resolve;
  });
  readonly #released = new Promise<void>((resolve) => {
    this.#release = resolve;
  });

  constructor(step: WriteStep) {
    this.#step = step;
  }

  /** What each member of the cluster is given. */
  get rules(): BrokenRules {
    return { origin: (origin) => this.#origin(origin), objects: (calls) => this.#calls(calls) };
  }

  /** Lets the write continue. The step is reached, or never will be. */
  release(): void {
    this.#isReached = true;
    this.#release();
  }

  async #hold(step: WriteStep): Promise<void> {
    if (step !== this.#step || this.#isReached) return;
    this.#isReached = true;
    this.#reach();
    await this.#released;
  }

  #origin(next: Origin): Origin {
    return wrap(next, {
      write: async (request) => {
        await this.#hold("before the origin gets it");
        await this.#hold("while the origin takes it");
        const answer = await next.write(request);
        await this.#hold("after the origin took it");
        return answer;
      },
    });
  }

  #calls(next: ObjectCalls): ObjectCalls {
    return {
      ...next,
      lookUpRecords: async (member, request, onAnswer, limits) => {
        const stages = request.questions.map(({ writeStage }) => writeStage);
        if (stages.includes("begun")) await this.#hold("before the home hears of it");
        if (stages.includes("written")) await this.#hold("before the home hears that it was taken");
        return next.lookUpRecords(member, request, onAnswer, limits);
      },
    };
  }
}
