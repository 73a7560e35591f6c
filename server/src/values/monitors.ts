import { CacheError } from "@frontcache/proto";
import { whenAborted } from "@frontcache/proto/runtime";
import type { MonitorRequest, ValueEvent } from "./values.js";

/** Events that wait for one consumer. */
const MOST_WAITING = 10_000;
const MOST_MONITORS = 1_000;

/** Passes events of values to those who watch their keys. */
export class Monitors {
  readonly #monitors = new Set<Monitor>();

  get size(): number {
    return this.#monitors.size;
  }

  report(event: ValueEvent): void {
    for (const monitor of this.#monitors) if (event.url.startsWith(monitor.beginning)) monitor.push(event);
  }

  /** Begins to watch keys. Throws RESOURCE_EXHAUSTED if there are too many monitors. */
  watch({ bucket, prefix, signal }: Pick<MonitorRequest, "bucket" | "prefix" | "signal">): Monitor {
    if (this.#monitors.size >= MOST_MONITORS) {
      throw new CacheError("RESOURCE_EXHAUSTED", `cache://${bucket}: this member has ${MOST_MONITORS} monitors: end some`);
    }
    const monitor = new Monitor(`cache://${bucket}/${prefix}`, signal, () => this.#monitors.delete(monitor));
    this.#monitors.add(monitor);
    return monitor;
  }
}

/** The events of one consumer, until its signal is aborted or it returns. */
export class Monitor implements AsyncIterableIterator<ValueEvent> {
  readonly beginning: string;
  readonly #signal: AbortSignal;
  readonly #onEnd: () => void;
  readonly #waiting: ValueEvent[] = [];
  #wake: (() => void) | undefined;
  #failure: CacheError | undefined;

  constructor(beginning: string, signal: AbortSignal, onEnd: () => void) {
    this.beginning = beginning;
    this.#signal = signal;
    const unlink = whenAborted(signal, () => this.#wake?.());
    this.#onEnd = () => {
      unlink();
      onEnd();
    };
  }

  /** Adds an event for this consumer alone. */
  push(event: ValueEvent): void {
    if (this.#failure !== undefined) return;
    if (this.#waiting.push(event) > MOST_WAITING) {
      const message = `${this.beginning}: the monitor is ${MOST_WAITING} events late: watch again`;
      this.#failure = new CacheError("RESOURCE_EXHAUSTED", message);
    }
    this.#wake?.();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<ValueEvent>> {
    while (this.#waiting.length === 0 && this.#failure === undefined && !this.#signal.aborted) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#failure === undefined && !this.#signal.aborted) return { done: false, value: this.#waiting.shift()! };
    this.#onEnd();
    if (this.#failure !== undefined) throw this.#failure;
    return { done: true, value: undefined };
  }

  async return(): Promise<IteratorResult<ValueEvent>> {
    this.#onEnd();
    return { done: true, value: undefined };
  }
}
