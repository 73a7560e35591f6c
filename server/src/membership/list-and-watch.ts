import { backoffMs, sleep } from "@frontcache/proto/runtime";
import { KubeApiError } from "../kubernetes/api-request.js";
import type { Clock, Random } from "../runtime/clock.js";
import type { Pod } from "./pod.js";
import type { PodApi } from "./pod-api.js";

/** The times of lists, watches and back-offs. */
export interface ListAndWatchTimes {
  /** Timeout of a whole list. */
  readonly listMs: number;
  /** Duration of a watch. The API is asked to end it after this time; if it does not end, its connection is dead. */
  readonly watchMs: number;
  /** Duration after a silent watch, until a watch ends as asked. */
  readonly suspectWatchMs: number;
  /** Delay that the end of a watch may have. */
  readonly watchSlackMs: number;
  /** Interval between lists, independent of watches. */
  readonly relistMs: number;
  /** Maximum delay after the first failure. It doubles with each consecutive failure. */
  readonly backOffMs: number;
  readonly maxBackOffMs: number;
}

/** Receives the pods. */
export interface PodListener {
  replace(pods: readonly Pod[]): void;
  set(pod: Pod): void;
  remove(pod: Pod): void;
}

export interface ListAndWatchOptions {
  readonly api: Pick<PodApi, "list" | "watch">;
  readonly listener: PodListener;
  readonly times: ListAndWatchTimes;
  readonly clock: Clock;
  readonly random: Random;
  /** Called for each failure with the number of consecutive failures. */
  readonly onFailure: (error: Error, inARow: number) => void;
  /** Called at the first success after failures. */
  readonly onRecovery: () => void;
}

/** A watch that did not end when it should. */
class SilentWatch extends Error {}

/**
 * Follows the pods until it is closed: a list, then consecutive watches, each from the resource version of the last one. It lists
 * again if the API no longer has that resource version (410, as a response or an event), if the API refuses a watch for another
 * reason, if a watch went silent, and every few minutes. A lost connection only costs a new watch. During an outage the listener
 * is not called.
 */
export class ListAndWatch {
  readonly #options: ListAndWatchOptions;
  readonly #running: Promise<void>;
  #resourceVersion = "";
  #suspect = false;
  #failuresInARow = 0;
  #heardMs: number;
  #closed = false;
  #attempt = new AbortController();

  constructor(options: ListAndWatchOptions) {
    this.#options = options;
    this.#heardMs = options.clock.monotonicMs();
    this.#running = this.#run();
  }

  /** Milliseconds since the API last sent something, or since the start. */
  get silentMs(): number {
    return this.#options.clock.monotonicMs() - this.#heardMs;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#attempt.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#closed) {
      try {
        await this.#list();
        await this.#follow();
      } catch (error) {
        await this.#backOff(error as Error);
      }
    }
  }

  async #list(): Promise<void> {
    const { api, listener, times } = this.#options;
    const late = new Error(`a list of pods was not complete after ${times.listMs} ms`);
    const { pods, resourceVersion } = await this.#within(times.listMs, late, (signal) => api.list(signal));
    if (this.#closed) return;
    this.#resourceVersion = resourceVersion;
    this.#noteResponse();
    listener.replace(pods);
  }

  /** Watches until it is time for a list. Throws if only a list helps. */
  async #follow(): Promise<void> {
    const { clock, times } = this.#options;
    const relistAtMs = clock.monotonicMs() + this.#jittered(times.relistMs);
    while (!this.#closed && clock.monotonicMs() < relistAtMs) {
      try {
        await this.#watch();
      } catch (error) {
        if (error instanceof KubeApiError || error instanceof SilentWatch) throw error;
        await this.#backOff(error as Error);
      }
    }
  }

  async #watch(): Promise<void> {
    const { api, clock, times } = this.#options;
    const limitMs = this.#jittered(this.#suspect ? times.suspectWatchMs : times.watchMs);
    const silent = new SilentWatch(`a watch had not ended ${times.watchSlackMs} ms after it should`);
    const beganMs = clock.monotonicMs();
    let events = 0;
    await this.#within(limitMs + times.watchSlackMs, silent, async (signal) => {
      for await (const event of api.watch(this.#resourceVersion, limitMs, signal)) {
        if (this.#closed) return;
        events++;
        this.#handle(event.type, event.pod);
        if (event.resourceVersion !== "") this.#resourceVersion = event.resourceVersion;
      }
    });
    if (this.#closed) return;
    this.#suspect = false;
    // Without this, watches that end at once and empty would be requested in a busy loop.
    if (events === 0 && clock.monotonicMs() - beganMs < 1000) throw new Error("a watch ended as soon as it had begun");
    this.#noteResponse();
    this.#recovered();
  }

  #handle(type: "set" | "removed" | "bookmark", pod: Pod | undefined): void {
    const { listener } = this.#options;
    this.#noteResponse();
    this.#recovered();
    if (pod === undefined) return;
    if (type === "set") listener.set(pod);
    else listener.remove(pod);
  }

  /** Runs one attempt. Aborts it with `late` if it takes longer than `limitMs`. */
  async #within<T>(limitMs: number, late: Error, attempt: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const controller = new AbortController();
    this.#attempt = controller;
    if (this.#closed) controller.abort();
    const cancel = this.#options.clock.after(limitMs, () => controller.abort(late));
    try {
      return await attempt(controller.signal);
    } catch (error) {
      if (controller.signal.reason !== late) throw error;
      this.#suspect = late instanceof SilentWatch;
      throw late;
    } finally {
      cancel();
    }
  }

  /** Full jitter, because all members of a cluster retry when its API returns. */
  async #backOff(error: Error): Promise<void> {
    if (this.#closed) return;
    const { times, clock, random, onFailure } = this.#options;
    onFailure(error, ++this.#failuresInARow);
    const backoff = { firstMs: times.backOffMs, longestMs: times.maxBackOffMs, jitter: 1 };
    this.#attempt = new AbortController();
    const wait = sleep(clock, backoffMs(backoff, this.#failuresInARow, random), this.#attempt.signal);
    // An abort means that this was closed, which the caller checks.
    await wait.catch(() => undefined);
  }

  #noteResponse(): void {
    this.#heardMs = this.#options.clock.monotonicMs();
  }

  #recovered(): void {
    if (this.#failuresInARow === 0) return;
    this.#failuresInARow = 0;
    this.#options.onRecovery();
  }

  /** Between 0.8 and 1.2 times, so that a cluster's members do not send their requests at the same time. */
  #jittered(durationMs: number): number {
    return durationMs * (0.8 + 0.4 * this.#options.random());
  }
}
