import { CacheError } from "@frontcache/proto";
import type { Clock } from "../runtime/clock.js";
import { ValueConflict } from "./values.js";

const MOST_SECONDS = 3_600;
const MOST_LOCKS = 10_000;
/** Holders of one key. */
const MOST_HOLDERS = 64;

interface Locked {
  /** When each holder's lock ends. */
  readonly holders: Map<string, number>;
  /** Called when the last lock has ended. */
  readonly onEnd: () => void;
}

/** Locks that clients hold on values of this member. They expire unless they are renewed. */
export class Locks {
  readonly #clock: Pick<Clock, "nowMs">;
  /** By URL. */
  readonly #locks = new Map<string, Locked>();

  constructor(clock: Pick<Clock, "nowMs">) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#locks.size;
  }

  /**
   * Locks a value, or renews the holder's lock. Returns when it ends, milliseconds since 1970. `onBegin` is called if nobody holds a
   * lock on the value, and returns what is called when the last one has ended.
   */
  lock(url: string, holder: string, seconds: number, onBegin: () => () => void = () => () => {}): number {
    if (!(seconds >= 1 && seconds <= MOST_SECONDS) || holder === "" || holder.length > 256) {
      throw new CacheError("INVALID_ARGUMENT", `${url}: a lock has a holder and lasts 1 to ${MOST_SECONDS} seconds`);
    }
    const current = this.#current(url);
    const isFull = current === undefined ? this.#isFull() : !current.holders.has(holder) && current.holders.size >= MOST_HOLDERS;
    if (isFull) throw new CacheError("RESOURCE_EXHAUSTED", `${url}: too many locks: wait until some have ended`);
    const locked = current ?? { holders: new Map<string, number>(), onEnd: onBegin() };
    const endMs = this.#clock.nowMs() + seconds * 1_000;
    locked.holders.set(holder, endMs);
    this.#locks.set(url, locked);
    return endMs;
  }

  unlock(url: string, holder: string): void {
    const locked = this.#locks.get(url);
    locked?.holders.delete(holder);
    if (locked?.holders.size === 0) this.#end(url, locked);
  }

  isLocked(url: string): boolean {
    return this.#current(url) !== undefined;
  }

  /** Throws ValueConflict `locked`. */
  check(url: string): void {
    if (this.isLocked(url)) throw new ValueConflict("locked", `${url} is locked by a client: wait until the lock has ended`);
  }

  /** Removes locks that have ended. */
  expire(): void {
    for (const url of this.#locks.keys()) this.#current(url);
  }

  /** Ends all locks. */
  close(): void {
    for (const [url, locked] of this.#locks) this.#end(url, locked);
  }

  #isFull(): boolean {
    if (this.#locks.size >= MOST_LOCKS) this.expire();
    return this.#locks.size >= MOST_LOCKS;
  }

  /** Undefined: nobody holds a lock. */
  #current(url: string): Locked | undefined {
    const locked = this.#locks.get(url);
    if (locked === undefined) return undefined;
    for (const [holder, endMs] of locked.holders) if (endMs <= this.#clock.nowMs()) locked.holders.delete(holder);
    if (locked.holders.size > 0) return locked;
    this.#end(url, locked);
    return undefined;
  }

  #end(url: string, { onEnd }: Locked): void {
    this.#locks.delete(url);
    onEnd();
  }
}
