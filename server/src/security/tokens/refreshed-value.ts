import { backoffMs, singleFlight } from "@frontcache/proto/runtime";
import type { Clock, Random } from "../../runtime/clock.js";

export interface RefreshedValueOptions<Value> {
  /** Loads the value. It must settle in bounded time, and soon after `signal` is aborted. */
  readonly load: (signal: AbortSignal) => Promise<Value>;
  /** Whether a newly loaded value means the same as the current one. */
  readonly isSame: (current: Value, loaded: Value) => boolean;
  readonly clock: Clock;
  readonly random: Random;
  /** Called after each failed load. `failures`: in a row. */
  readonly onFailure: (error: Error, failures: number) => void;
  /** Called after the first successful load after a failed one. */
  readonly onRecovery: () => void;
}

/** Time between two loads. Each member loads the keys of each issuer at this rate. */
const REFRESH_MS = 300_000;

/** Members that started together spread their requests by this share of the time. */
const REFRESH_JITTER = 0.2;

/** Delays after failed loads. */
const RETRY = { firstMs: 1_000, longestMs: 30_000 };

/** A value that could not be confirmed for this time is no longer used. */
const MAX_AGE_MS = 86_400_000;

/** Time between two loads that are requested because the value seems outdated. */
const DEMAND_INTERVAL_MS = 10_000;

/** A loaded value, and the revision that it began. */
export interface Snapshot<Value> {
  readonly value: Value;
  readonly revision: number;
}

/** A remote value that is loaded in the background before it is needed. While its source fails, the last value stays in use. */
export class RefreshedValue<Value> {
  readonly #options: RefreshedValueOptions<Value>;
  readonly #closing = new AbortController();
  readonly #load: () => Promise<void>;
  #running: Promise<void> | undefined;
  #current: Snapshot<Value> | undefined;
  #revision = 0;
  #failures = 0;
  #lastError = new Error("it was not requested yet");
  #nextDemandMs = Number.NEGATIVE_INFINITY;
  #cancelLoad: () => void = () => {};
  #cancelExpiry: () => void = () => {};

  /** Starts the first load. */
  constructor(options: RefreshedValueOptions<Value>) {
    this.#options = options;
    this.#load = singleFlight(() => this.#loadOnce());
    this.#begin();
  }

  /** Grows whenever the value changes, and when it is dropped because it is too old. */
  get revision(): number {
    return this.#revision;
  }

  /** Returns the value. Waits for a running load if there is no value. Rejects with the error of the last load. */
  async get(): Promise<Snapshot<Value>> {
    if (this.#current === undefined) await this.#running;
    if (this.#current === undefined) throw this.#lastError;
    return this.#current;
  }

  /**
   * Loads a newer value than `seen`, which seems outdated. Resolves with the current value, which may still be `seen`: a load is
   * started at most once per interval, whoever requests it. Rejects if the last load failed.
   */
  async newerThan(seen: Snapshot<Value>): Promise<Snapshot<Value>> {
    await this.#running;
    if (this.#current === seen && this.#options.clock.monotonicMs() >= this.#nextDemandMs) {
      this.#nextDemandMs = this.#options.clock.monotonicMs() + DEMAND_INTERVAL_MS;
      await this.#begin();
    }
    if (this.#failures > 0) throw this.#lastError;
    return this.get();
  }

  /** Stops loading; resolves when a running load has ended. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#cancelLoad();
    this.#cancelExpiry();
    await this.#running;
  }

  /** Starts a load, or joins the running one. Never rejects. */
  #begin(): Promise<void> {
    if (this.#closing.signal.aborted) return Promise.resolve();
    this.#cancelLoad();
    const running = this.#load().finally(() => {
      this.#running = undefined;
    });
    this.#running = running;
    return running;
  }

  async #loadOnce(): Promise<void> {
    const { load, isSame, clock, onFailure, onRecovery } = this.#options;
    try {
      const value = await load(this.#closing.signal);
      // An unchanged value keeps its revision, and with it everything that was derived from it.
      if (this.#current === undefined || !isSame(this.#current.value, value))
        this.#current = { value, revision: ++this.#revision };
      this.#cancelExpiry();
      this.#cancelExpiry = clock.after(MAX_AGE_MS, () => this.#expire());
      if (this.#failures > 0) onRecovery();
      this.#failures = 0;
    } catch (error) {
      if (this.#closing.signal.aborted) return;
      this.#lastError = error as Error;
      onFailure(this.#lastError, ++this.#failures);
    }
    this.#wait();
  }

  #expire(): void {
    this.#current = undefined;
    this.#revision++;
  }

  #wait(): void {
    if (this.#closing.signal.aborted) return;
    const { clock, random } = this.#options;
    const delayMs =
      this.#failures === 0 ? REFRESH_MS * (1 - REFRESH_JITTER * random()) : backoffMs(RETRY, this.#failures, random);
    this.#cancelLoad = clock.after(delayMs, () => void this.#begin());
  }
}
