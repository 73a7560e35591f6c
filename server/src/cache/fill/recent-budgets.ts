import type { ObjectRef } from "@frontcache/proto";
import { BoundedMap, TransientMap } from "@frontcache/proto/runtime";
import type { RequestBudget } from "../../origin/request-budget.js";
import type { Clock } from "../../runtime/clock.js";

/** A client repeats a read within this time: it may have to load gRPC and to connect. */
const REMEMBERED_MS = 5_000;

/** Blocks remembered, about 300 bytes each. */
const CAPACITY = 1_000;

/** A block of any version. */
export interface BudgetedBlock {
  readonly ref: Pick<ObjectRef, "url">;
  readonly blockOffset: number;
}

/** A budget whose requests have failed. */
interface Entry {
  readonly budget: RequestBudget;
  /** When its last request had ended, monotonic milliseconds. */
  readonly endedAtMs: number;
}

/**
 * The budgets of blocks that are fetched, or whose requests have just failed. A client whose answer is aborted, or that takes its
 * member for frozen, repeats its read: over HTTP, an answer that has begun cannot say why it ends too soon. The repeated read
 * continues with the budget of the first one, and learns its error if nothing is left.
 */
export class RecentBudgets {
  readonly #clock: Pick<Clock, "monotonicMs">;
  /** Budgets of blocks for which requests run. */
  readonly #running = new TransientMap<RequestBudget>();
  readonly #failed = new BoundedMap<string, Entry>(CAPACITY);

  constructor(clock: Pick<Clock, "monotonicMs">) {
    this.#clock = clock;
  }

  /** Requests for the block begin. */
  begin(block: BudgetedBlock, budget: RequestBudget): void {
    this.#running.set(keyOf(block), budget);
  }

  /** No request for the block runs any more. */
  end(block: BudgetedBlock, budget: RequestBudget): void {
    const key = keyOf(block);
    if (this.#running.get(key) !== budget) return;
    this.#running.delete(key);
    if (budget.failures === 0) this.#failed.delete(key);
    else this.#failed.set(key, { budget, endedAtMs: this.#clock.monotonicMs() });
  }

  /** The budget that a read of the block had a moment ago. */
  find(block: BudgetedBlock): RequestBudget | undefined {
    const key = keyOf(block);
    const running = this.#running.get(key);
    if (running !== undefined) return running;
    const failed = this.#failed.peek(key);
    return failed !== undefined && this.#clock.monotonicMs() - failed.endedAtMs < REMEMBERED_MS ? failed.budget : undefined;
  }
}

function keyOf({ ref, blockOffset }: BudgetedBlock): string {
  return `${blockOffset} ${ref.url}`;
}
