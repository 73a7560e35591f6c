import type { Clock } from "../../runtime/clock.js";
import type { StorageTuning } from "../storage-tuning.js";
import { systemError } from "./disk.js";

interface Waiter {
  go(): void;
  fail(error: Error): void;
}

/**
 * Limits the operations of one disk: a bounded number runs concurrently, each with a time limit. An operation that exceeds its
 * limit cannot be stopped, and its thread is lost until the disk answers. While there is one, further operations are rejected.
 */
export class DiskGate {
  readonly #clock: Clock;
  readonly #tuning: Pick<StorageTuning, "ioParallelism" | "diskTimeoutMs">;
  readonly #onHang: (error: Error) => void;

  #running = 0;
  #overdue = 0;
  readonly #waiting: Waiter[] = [];
  #whenAnswered: (() => void)[] = [];

  constructor(clock: Clock, tuning: Pick<StorageTuning, "ioParallelism" | "diskTimeoutMs">, onHang: (error: Error) => void) {
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
    return this.#running;
  }

  /** Resolves when all overdue operations have ended. */
  answered(): Promise<void> {
    if (!this.isHanging) return Promise.resolve();
    return new Promise((resolve) => this.#whenAnswered.push(resolve));
  }

  /**
   * Runs an operation. Rejects with its error, or with ETIMEDOUT: then `abandon` gets its late result.
   */
  async run<T>(operation: () => Promise<T>, abandon?: (late: T) => void): Promise<T> {
    if (this.isHanging) throw hanging();
    if (this.#running >= this.#tuning.ioParallelism) {
      await new Promise<void>((go, fail) => this.#waiting.push({ go, fail }));
    } else this.#running++;
    return new Promise<T>((resolve, reject) => {
      let late = false;
      const cancel = this.#clock.after(this.#tuning.diskTimeoutMs, () => {
        late = true;
        this.#hang();
        reject(hanging());
      });
      const end = (): void => {
        cancel();
        if (late) this.#overdue--;
        if (late && this.#overdue === 0) for (const resolve of this.#whenAnswered.splice(0)) resolve();
        this.#leave();
      };
      operation().then(
        (value) => {
          end();
          if (late) abandon?.(value);
          else resolve(value);
        },
        (error: unknown) => {
          end();
          reject(error);
        },
      );
    });
  }

  /** Passes a free place to the first waiting operation. */
  #leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#running--;
    else next.go();
  }

  #hang(): void {
    const error = hanging();
    this.#onHang(error);
    this.#overdue++;
    for (const waiter of this.#waiting.splice(0)) waiter.fail(error);
  }
}

function hanging(): Error {
  return systemError("ETIMEDOUT", "the disk does not answer");
}
