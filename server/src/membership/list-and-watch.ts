import { backoffMs, sleep } from "@frontcache/proto/runtime";
import type { Clock, Random } from "../runtime/clock.js";
import { KubeApiError } from "./api-request.js";
import type { Pod } from "./pod.js";
import type { PodApi } from "./pod-api.js";

/** How long things may take, and how often they happen. */
export interface ListAndWatchTimes {
  /** A whole list. */
  readonly listMs: number;
  /** A watch: it is asked to end after that, so that one that does not is known to have gone silent. */
  readonly watchMs: number;
  /** The same, after one that had gone silent, until one ends as asked. */
  readonly suspectWatchMs: number;
  /** How much later than asked a watch may end. */
  readonly watchSlackMs: number;
  /** A list afresh, whatever the watches say. */
  readonly relistMs: number;
  /** The longest wait after the first failure; it doubles with each further one. */
  readonly backOffMs: number;
  readonly maxBackOffMs: number;
}

/** Who is told of pods. */
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
  /** Each failure, and how many came in a row. */
  readonly onFailure: (error: Error, inARow: number) => void;
  /** The first success after failures. */
  readonly onRecovery: () => void;
}

/** A watch that was asked to end and did not. */
class SilentWatch extends Error {}

/**
 * Hears of pods for as long as it is open: a list, then watches one after the other from where the last one stopped. It
 * lists afresh when the API no longer remembers that moment (410, as an answer or an event), when the API refuses
 * anything else, when a watch went silent, and every few minutes. A lost connection only costs a new watch. While
 * nothing works the listener is told nothing, so that what it knows stays.
 */
export class ListAndWatch {
  readonly #options: ListAndWatchOptions;
  readonly #running: Promise<void>;
  #resourceVersion = "";
  #suspect = false;
  #failuresInARow = 0;
  #heardMs: number | undefined;
  #closed = false;
  #attempt = new AbortController();

  constructor(options: ListAndWatchOptions) {
    this.#options = options;
    this.#running = this.#run();
  }

  /** Milliseconds since the API last said anything; Infinity before its first word. */
  get silentMs(): number {
    return this.#heardMs === undefined ? Number.POSITIVE_INFINITY : this.#options.clock.monotonicMs() - this.#heardMs;
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
    this.#heard();
    listener.replace(pods);
  }

  /** Watches until it is time for a list; throws where only a list helps. */
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
        this.#tell(event.type, event.pod);
        if (event.resourceVersion !== "") this.#resourceVersion = event.resourceVersion;
      }
    });
    if (this.#closed) return;
    this.#suspect = false;
    // One that ends at once and empty, again and again, would be asked for in a tight circle.
    if (events === 0 && clock.monotonicMs() - beganMs < 1000) throw new Error("a watch ended as soon as it had begun");
    this.#heard();
    this.#recovered();
  }

  #tell(type: "set" | "removed" | "bookmark", pod: Pod | undefined): void {
    const { listener } = this.#options;
    this.#heard();
    this.#recovered();
    if (pod === undefined) return;
    if (type === "set") listener.set(pod);
    else listener.remove(pod);
  }

  /** Runs one attempt, and gives it up with `late` when it takes longer than `limitMs`. */
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

  /** Full jitter: a whole cluster asks again at once when its API returns. */
  async #backOff(error: Error): Promise<void> {
    if (this.#closed) return;
    const { times, clock, random, onFailure } = this.#options;
    onFailure(error, ++this.#failuresInARow);
    const backoff = { firstMs: times.backOffMs, longestMs: times.maxBackOffMs, jitter: 1 };
    this.#attempt = new AbortController();
    const wait = sleep(clock, backoffMs(backoff, this.#failuresInARow, random), this.#attempt.signal);
    // An abort means that this was closed: the caller sees that for itself.
    await wait.catch(() => undefined);
  }

  #heard(): void {
    this.#heardMs = this.#options.clock.monotonicMs();
  }

  #recovered(): void {
    if (this.#failuresInARow === 0) return;
    this.#failuresInARow = 0;
    this.#options.onRecovery();
  }

  /** Between 0.8 and 1.2 times, so that a cluster's members do not ask all at once. */
  #jittered(durationMs: number): number {
    return durationMs * (0.8 + 0.4 * this.#options.random());
  }
}
