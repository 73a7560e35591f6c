import type { ObjectRef } from "@frontcache/proto";
import { BoundedMap } from "@frontcache/proto/runtime";
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

interface Entry {
  readonly budget: RequestBudget;
  /** When its last request had ended, monotonic milliseconds; undefined: some may still run. */
  readonly endedAtMs: number | undefined;
}

/**
 * The budgets of blocks that are fetched, or whose requests have just failed. A client whose answer is aborted, or that takes its
 * member for frozen, repeats its read: over HTTP, an answer that has begun cannot say why it ends too soon. The repeated read
 * continues with the budget of the first one, and learns its error if nothing is left.
 */
export class RecentBudgets {
  readonly #clock: Pick<Clock, "monotonicMs">;
  readonly #entries = new BoundedMap<string, Entry>(CAPACITY);

  constructor(clock: Pick<Clock, "monotonicMs">) {
    this.#clock = clock;
  }

  /** Requests for the block begin. */
  begin(block: BudgetedBlock, budget: RequestBudget): void {
    this.#entries.set(keyOf(block), { budget, endedAtMs: undefined });
  }

  /** No request for the block runs any more. */
  end(block: BudgetedBlock, budget: RequestBudget): void {
    const key = keyOf(block);
    if (this.#entries.peek(key)?.budget !== budget) return;
    if (budget.failures === 0) this.#entries.delete(key);
    else this.#entries.set(key, { budget, endedAtMs: this.#clock.monotonicMs() });
  }

  /** The budget that a read of the block had a moment ago. */
  find(block: BudgetedBlock): RequestBudget | undefined {
    const entry = this.#entries.peek(keyOf(block));
    if (entry === undefined) return undefined;
    const { budget, endedAtMs } = entry;
    return endedAtMs === undefined || this.#clock.monotonicMs() - endedAtMs < REMEMBERED_MS ? budget : undefined;
  }
}

function keyOf({ ref, blockOffset }: BudgetedBlock): string {
  return `${blockOffset} ${ref.url}`;
}
