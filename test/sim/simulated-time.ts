import type { ManualClock } from "@frontcache/server/testing";
import type { Chance } from "../seeded-random.js";

/** Lets everything run that waits for nothing but its turn. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Lets time pass, timer by timer, with everything that each one sets off. */
export async function pass(clock: ManualClock, ms: number): Promise<void> {
  const endMs = clock.monotonicMs() + ms;
  await turn();
  for (let nextMs = clock.nextInMs; nextMs !== undefined && clock.monotonicMs() + nextMs <= endMs; nextMs = clock.nextInMs) {
    clock.advance(nextMs);
    await turn();
  }
  clock.advance(Math.max(0, endMs - clock.monotonicMs()));
  await turn();
}

/** Waits for something while time passes, for a quarter of an hour at most. */
export async function during<T>(clock: ManualClock, work: Promise<T>): Promise<T> {
  let over = false;
  const ended = (): void => {
    over = true;
  };
  work.then(ended, ended);
  await turn();
  for (let i = 0; i < 100_000 && !over; i++) await pass(clock, 10);
  return work;
}

/**
 * The clock of one simulated process, for servers' and clients' code: its wall time may jump, and its timers die with it. What
 * happens to it between two of its timers happens at the simulation's own time.
 */
export class ProcessClock {
  readonly #time: ManualClock;
  readonly #chance: Chance;

  /** How far its wall is off the simulation's. */
  wallOffsetMs = 0;
  readonly #waits = new Set<() => void>();
  dead = false;

  constructor(time: ManualClock, chance: Chance) {
    this.#time = time;
    this.#chance = chance;
  }

  nowMs(): number {
    return this.#time.nowMs() + this.wallOffsetMs;
  }

  monotonicMs(): number {
    return this.#time.monotonicMs();
  }

  random(): number {
    return this.#chance.next();
  }

  /** Waits that have neither rung nor been cancelled. */
  get waits(): number {
    return this.#waits.size;
  }

  after(delayMs: number, callback: () => void): () => void {
    if (this.dead) return () => {};
    const cancelWait = this.#time.after(delayMs, () => {
      this.#waits.delete(cancel);
      callback();
    });
    const cancel = (): void => {
      if (this.#waits.delete(cancel)) cancelWait();
    };
    this.#waits.add(cancel);
    return cancel;
  }

  /** The process is gone: nothing rings any more. */
  die(): void {
    this.dead = true;
    for (const cancel of this.#waits) cancel();
  }
}
