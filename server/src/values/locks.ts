import { CacheError } from "@frontcache/proto";
import type { Clock } from "../runtime/clock.js";
import { ValueConflict } from "./values.js";

const MOST_SECONDS = 3_600;
const MOST_LOCKS = 10_000;
/** Holders of one key. */
const MOST_HOLDERS = 64;

/** Locks that clients hold on values of this member. They expire unless they are renewed. */
export class Locks {
  readonly #clock: Pick<Clock, "nowMs">;
  /** By URL, then by holder: when the lock ends. */
  readonly #locks = new Map<string, Map<string, number>>();

  constructor(clock: Pick<Clock, "nowMs">) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#locks.size;
  }

  /** Locks a value, or renews the holder's lock. Returns when it ends, milliseconds since 1970. */
  lock(url: string, holder: string, seconds: number): number {
    if (!(seconds >= 1 && seconds <= MOST_SECONDS) || holder === "" || holder.length > 256) {
      throw new CacheError("INVALID_ARGUMENT", `${url}: a lock has a holder and lasts 1 to ${MOST_SECONDS} seconds`);
    }
    const holders = this.#holdersOf(url) ?? new Map<string, number>();
    if (!holders.has(holder) && (holders.size >= MOST_HOLDERS || (holders.size === 0 && this.#isFull()))) {
      throw new CacheError("RESOURCE_EXHAUSTED", `${url}: too many locks: wait until some have ended`);
    }
    const endMs = this.#clock.nowMs() + seconds * 1_000;
    holders.set(holder, endMs);
    this.#locks.set(url, holders);
    return endMs;
  }

  unlock(url: string, holder: string): void {
    const holders = this.#locks.get(url);
    holders?.delete(holder);
    if (holders?.size === 0) this.#locks.delete(url);
  }

  isLocked(url: string): boolean {
    return this.#holdersOf(url) !== undefined;
  }

  /** Throws ValueConflict `locked`. */
  check(url: string): void {
    if (this.isLocked(url)) throw new ValueConflict("locked", `${url} is locked by a client: wait until the lock has ended`);
  }

  /** The URLs of values whose locks have ended since. */
  expire(): string[] {
    return [...this.#locks.keys()].filter((url) => this.#holdersOf(url) === undefined);
  }

  #isFull(): boolean {
    if (this.#locks.size >= MOST_LOCKS) this.expire();
    return this.#locks.size >= MOST_LOCKS;
  }

  /** The current holders; undefined: nobody. */
  #holdersOf(url: string): Map<string, number> | undefined {
    const holders = this.#locks.get(url);
    if (holders === undefined) return undefined;
    for (const [holder, endMs] of holders) if (endMs <= this.#clock.nowMs()) holders.delete(holder);
    if (holders.size > 0) return holders;
    this.#locks.delete(url);
    return undefined;
  }
}
