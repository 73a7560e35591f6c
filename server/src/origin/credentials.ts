import { SingleFlight, untilAborted } from "@frontcache/proto/runtime";
import type { Clock } from "../runtime/clock.js";
import { NoAnswer } from "./checked-answer.js";

/** Where credentials come from: a metadata server, a token service, files or the environment. */
export interface CredentialsSource<Value> {
  /** Asks the source, past all caches. */
  load(): Promise<Value>;
  /** When they expire, in milliseconds since 1970; undefined: never, or unknown. */
  expiryMs(credentials: Value): number | undefined;
  isSame(one: Value, other: Value): boolean;
}

/** The source of credentials did not return any. The cause is the source's error. */
export class CredentialsFailure extends Error {
  override readonly name = "CredentialsFailure";
}

/**
 * Waits for credentials. If the request's time is over before they come, it is the source that did not answer, not the origin: rejects
 * with a CredentialsFailure.
 */
export async function inTime<Value>(credentials: Promise<Value>, signal: AbortSignal): Promise<Value> {
  try {
    return await untilAborted(credentials, signal);
  } catch (error) {
    if (!signal.aborted || !(signal.reason instanceof NoAnswer)) throw error;
    throw new CredentialsFailure("no credentials", { cause: new Error("the source of credentials did not answer in time") });
  }
}

/** Credentials are renewed this long before they expire. Sources offer new ones about five minutes before the old ones expire. */
const RENEW_AHEAD_MS = 5 * 60_000;

/** Minimum time between two renewals ahead: a source may return the same credentials until shortly before they expire. */
const AHEAD_INTERVAL_MS = 10_000;

/** Minimum time between two renewals that requests wait for: a source that fails is not asked once per request. */
const INTERVAL_MS = 1_000;

/** The interval grows fourfold up to this while new credentials are rejected, too: other ones do not help then. */
const MAX_INTERVAL_MS = 30_000;

/** A source that does not answer in this time has failed. */
const LOAD_TIMEOUT_MS = 10_000;

/**
 * Credentials that are renewed before they expire and when a store rejects them. One renewal runs at a time. While renewals fail,
 * the current credentials are used until they expire. Credentials that the source has just returned are used even if they seem to
 * have expired: this machine's clock may be wrong, and the store decides.
 */
export class Credentials<Value> {
  readonly #source: CredentialsSource<Value>;
  readonly #clock: Clock;
  readonly #renewals = new SingleFlight<"renewal", void>();
  #current: Value | undefined;
  /** The error of the last renewal; undefined after a success. */
  #failure: CredentialsFailure | undefined;
  #startedMs = Number.NEGATIVE_INFINITY;
  #loadedMs = Number.NEGATIVE_INFINITY;
  #intervalMs = INTERVAL_MS;

  constructor(source: CredentialsSource<Value>, clock: Clock) {
    this.#source = source;
    this.#clock = clock;
  }

  /** The current credentials, unless they have expired or their renewal is due: then use `get`. */
  get valid(): Value | undefined {
    const current = this.#current;
    if (current === undefined) return undefined;
    const expiryMs = this.#source.expiryMs(current);
    return expiryMs === undefined || expiryMs - this.#clock.nowMs() >= RENEW_AHEAD_MS ? current : undefined;
  }

  /** The credentials to use now. Rejects with a CredentialsFailure if there are none. */
  async get(): Promise<Value> {
    const current = this.#current;
    const expiryMs = current === undefined ? 0 : (this.#source.expiryMs(current) ?? Number.POSITIVE_INFINITY);
    const leftMs = expiryMs - this.#clock.nowMs();
    if (current !== undefined && leftMs > 0) {
      if (leftMs < RENEW_AHEAD_MS) void this.#renewAfter(AHEAD_INTERVAL_MS);
      return current;
    }
    await this.#renewAfter(this.#intervalMs);
    return this.#renewed();
  }

  /**
   * Renews credentials that a store has rejected. Returns undefined if the source still returns the same ones. Rejects with a
   * CredentialsFailure.
   */
  async replace(rejected: Value): Promise<Value | undefined> {
    if (this.#current === undefined || this.#source.isSame(this.#current, rejected)) {
      await this.#renewAfter(this.#intervalMs);
    }
    const renewed = this.#renewed();
    return this.#source.isSame(renewed, rejected) ? undefined : renewed;
  }

  #renewed(): Value {
    if (this.#failure !== undefined) throw this.#failure;
    return this.#current!;
  }

  /** Joins a running renewal; otherwise starts one unless the last one started less than `intervalMs` ago. Never rejects. */
  async #renewAfter(intervalMs: number): Promise<void> {
    if (this.#renewals.size === 0 && this.#clock.monotonicMs() - this.#startedMs < intervalMs) return;
    await this.#renewals.run("renewal", () => this.#renew());
  }

  async #renew(): Promise<void> {
    const nowMs = this.#clock.monotonicMs();
    const previous = this.#current;
    this.#startedMs = nowMs;
    try {
      this.#current = await this.#loadInTime();
      this.#failure = undefined;
      const isSoon = nowMs - this.#loadedMs <= MAX_INTERVAL_MS;
      const isNew = previous !== undefined && !this.#source.isSame(previous, this.#current);
      this.#intervalMs = isNew && isSoon ? Math.min(4 * this.#intervalMs, MAX_INTERVAL_MS) : INTERVAL_MS;
      this.#loadedMs = nowMs;
      // The first credentials may be old ones: if they are rejected, their renewal need not wait.
      if (previous === undefined) this.#startedMs = Number.NEGATIVE_INFINITY;
    } catch (cause) {
      this.#failure = new CredentialsFailure("no credentials", { cause });
      this.#intervalMs = INTERVAL_MS;
    }
  }

  /** The source's libraries cannot be aborted: a late answer is dropped, and the next renewal asks again. */
  #loadInTime(): Promise<Value> {
    return new Promise((resolve, reject) => {
      const late = () => reject(new Error(`the source of credentials did not answer in ${LOAD_TIMEOUT_MS} ms`));
      const cancel = this.#clock.after(LOAD_TIMEOUT_MS, late);
      this.#source.load().then(resolve, reject).finally(cancel);
    });
  }
}
