import { type Linked, LinkedList } from "@frontcache/proto/runtime";
import type { Clock } from "../../runtime/clock.js";
import type { StorageTuning } from "../storage-tuning.js";
import { systemError } from "./disk.js";

type GateTuning = Pick<StorageTuning, "ioParallelism" | "bulkWrites" | "diskTimeoutMs">;

/** An operation that runs, or waits for a place. */
interface Operation extends Linked<Operation> {
  readonly work: () => Promise<unknown>;
  readonly isBulkWrite: boolean;
  /** It waits for others in a thread of its own, and takes no place of those that run concurrently. */
  readonly isBatched: boolean;
  readonly abandon: ((late: never) => void) | undefined;
  readonly resolve: (value: never) => void;
  readonly reject: (error: unknown) => void;
  /** When it began, monotonic milliseconds. */
  begunMs: number;
  isOverdue: boolean;
}

/** Batched operations at a time. Further ones take places as all others do. */
const MOST_BATCHED = 64;

/**
 * Limits the operations of one disk: a bounded number runs concurrently, each with a time limit. An operation that exceeds its
 * limit cannot be stopped, and its thread is lost until the disk answers. While there is one, further operations are rejected.
 *
 * Fewer bulk writes run concurrently. Each copies megabytes into the page cache: eight of them would leave the event loop a small share
 * of the processor, and would leave reads no place while the kernel holds writers back until the disk has caught up.
 */
export class DiskGate {
  readonly #clock: Clock;
  readonly #tuning: GateTuning;
  readonly #onHang: (error: Error) => void;

  /** In the order in which they began. */
  readonly #running = new LinkedList<Operation>();
  #overdue = 0;
  #bulkWrites = 0;
  #batched = 0;
  readonly #waiting: Operation[] = [];
  readonly #waitingBulkWrites: Operation[] = [];
  #whenAnswered: (() => void)[] = [];
  /** One timer for all: an operation ends long before its limit as a rule. */
  #cancelTimer: (() => void) | undefined;

  constructor(clock: Clock, tuning: GateTuning, onHang: (error: Error) => void) {
    this.#clock = clock;
    this.#tuning = tuning;
    this.#onHang = onHang;
  }

  /** Whether an operation has exceeded its limit and the disk has not answered since. */
  get isHanging(): boolean {
    return this.#overdue > 0;
  }

  /** Number of running operations, including overdue ones. */
  get running(): number {
    return this.#running.size;
  }

  /** Resolves when all overdue operations have ended. */
  answered(): Promise<void> {
    if (!this.isHanging) return Promise.resolve();
    return new Promise((resolve) => this.#whenAnswered.push(resolve));
  }

  /**
   * Runs an operation. Rejects with its error, or with ETIMEDOUT: then `abandon` gets its late result.
   */
  run<T>(work: () => Promise<T>, abandon?: (late: T) => void): Promise<T> {
    return this.#run(work, "single", abandon);
  }

  /**
   * As `run`, for an operation that waits until there are several for one message to another thread. If each took a place meanwhile, a
   * message would have at most as many files as there are places, and reads would wait for it.
   */
  runBatched<T>(work: () => Promise<T>, abandon?: (late: T) => void): Promise<T> {
    return this.#run(work, this.#batched < MOST_BATCHED ? "batched" : "single", abandon);
  }

  /** As `run`, for a write of megabytes. */
  writeBulk(work: () => Promise<void>): Promise<void> {
    return this.#run(work, "bulkWrite");
  }

  #run<T>(work: () => Promise<T>, kind: "single" | "batched" | "bulkWrite", abandon?: (late: T) => void): Promise<T> {
    if (this.isHanging) return Promise.reject(hanging());
    return new Promise<T>((resolve, reject) => {
      const [isBulkWrite, isBatched] = [kind === "bulkWrite", kind === "batched"];
      const operation: Operation = { work, isBulkWrite, isBatched, abandon, resolve, reject, begunMs: 0, isOverdue: false };
      if (isBulkWrite && this.#bulkWrites === this.#tuning.bulkWrites) this.#waitingBulkWrites.push(operation);
      else this.#enter(operation);
    });
  }

  #enter(operation: Operation): void {
    if (operation.isBulkWrite) this.#bulkWrites++;
    if (operation.isBatched) this.#batched++;
    if (operation.isBatched || this.#hasPlace) this.#begin(operation);
    else this.#waiting.push(operation);
  }

  get #hasPlace(): boolean {
    return this.#running.size - this.#batched < this.#tuning.ioParallelism;
  }

  #begin(operation: Operation): void {
    operation.begunMs = this.#clock.monotonicMs();
    this.#running.add(operation);
    this.#cancelTimer ??= this.#clock.after(this.#tuning.diskTimeoutMs, this.#onTimer);
    operation.work().then(
      (value) => {
        this.#ended(operation);
        if (operation.isOverdue) operation.abandon?.(value as never);
        else operation.resolve(value as never);
      },
      (error: unknown) => {
        this.#ended(operation);
        operation.reject(error);
      },
    );
  }

  #ended(operation: Operation): void {
    this.#running.delete(operation);
    if (operation.isBatched) this.#batched--;
    if (operation.isOverdue && --this.#overdue === 0) for (const resolve of this.#whenAnswered.splice(0)) resolve();
    if (operation.isBulkWrite) {
      this.#bulkWrites--;
      const write = this.#waitingBulkWrites.shift();
      if (write !== undefined) this.#enter(write);
    }
    const next = this.#hasPlace ? this.#waiting.shift() : undefined;
    if (next !== undefined) this.#begin(next);
    else if (this.#running.size === this.#overdue) this.#stopTimer();
  }

  readonly #onTimer = (): void => {
    this.#cancelTimer = undefined;
    const nowMs = this.#clock.monotonicMs();
    for (let operation = this.#running.first; operation !== undefined; operation = operation.next) {
      if (operation.isOverdue) continue;
      const leftMs = operation.begunMs + this.#tuning.diskTimeoutMs - nowMs;
      if (leftMs > 0) {
        this.#cancelTimer = this.#clock.after(leftMs, this.#onTimer);
        return;
      }
      this.#hang(operation);
    }
  };

  #stopTimer(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  #hang(operation: Operation): void {
    const error = hanging();
    operation.isOverdue = true;
    this.#onHang(error);
    this.#overdue++;
    operation.reject(error);
    for (const waiting of this.#waiting.splice(0)) {
      if (waiting.isBulkWrite) this.#bulkWrites--;
      waiting.reject(error);
    }
    for (const waiting of this.#waitingBulkWrites.splice(0)) waiting.reject(error);
  }
}

function hanging(): Error {
  return systemError("ETIMEDOUT", "the disk does not answer");
}
