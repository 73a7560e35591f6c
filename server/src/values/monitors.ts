import { CacheError } from "@frontcache/proto";
import { whenAborted } from "@frontcache/proto/runtime";
import type { MonitorRequest, ValueEvent } from "./values.js";

/** Events that wait for one consumer. */
const MOST_WAITING = 10_000;
const MOST_MONITORS = 1_000;

/** Passes events of values to those who watch their keys. */
export class Monitors {
  readonly #monitors = new Set<{ readonly beginning: string; push(event: ValueEvent): void; end(): void }>();

  get size(): number {
    return this.#monitors.size;
  }

  report(event: ValueEvent): void {
    for (const monitor of this.#monitors) if (event.url.startsWith(monitor.beginning)) monitor.push(event);
  }

  /** Events from now on, until the signal is aborted. Throws RESOURCE_EXHAUSTED if there are too many monitors. */
  watch({ bucket, prefix, signal }: Pick<MonitorRequest, "bucket" | "prefix" | "signal">): AsyncIterableIterator<ValueEvent> {
    if (this.#monitors.size >= MOST_MONITORS) {
      throw new CacheError("RESOURCE_EXHAUSTED", `cache://${bucket}: this member has ${MOST_MONITORS} monitors: end some`);
    }
    const beginning = `cache://${bucket}/${prefix}`;
    const waiting: ValueEvent[] = [];
    let wake: (() => void) | undefined;
    let failure: CacheError | undefined;
    const monitor = {
      beginning,
      push: (event: ValueEvent): void => {
        if (failure !== undefined) return;
        if (waiting.push(event) > MOST_WAITING) {
          failure = new CacheError("RESOURCE_EXHAUSTED", `${beginning}: the monitor is ${MOST_WAITING} events late: watch again`);
        }
        wake?.();
      },
      end: (): void => wake?.(),
    };
    this.#monitors.add(monitor);
    const unlink = whenAborted(signal, () => monitor.end());
    const end = (): void => {
      unlink();
      this.#monitors.delete(monitor);
    };
    const next = async (): Promise<IteratorResult<ValueEvent>> => {
      while (waiting.length === 0 && failure === undefined && !signal.aborted) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      if (failure === undefined && !signal.aborted) return { done: false, value: waiting.shift()! };
      end();
      if (failure !== undefined) throw failure;
      return { done: true, value: undefined };
    };
    return {
      [Symbol.asyncIterator]() {
        return this;
      },
      next,
      return: async () => {
        end();
        return { done: true, value: undefined };
      },
    };
  }
}
