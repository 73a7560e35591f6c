import type { ManualClock } from "@frontcache/server/testing";
import type { Chance } from "../seeded-random.js";

/** Processes that handle what piled up while they were frozen. That takes no time. */
let catchingUp = 0;

/** Lets everything run that waits for nothing but its turn. */
export async function turn(): Promise<void> {
  do await nextTurn();
  while (catchingUp > 0);
}

function nextTurn(): Promise<void> {
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

/** In which order a process that was frozen handles its timers and messages: as they came, or one kind before the other. */
const ORDERS = ["as they came", "timers first", "messages first"] as const;

/** Something that a process handles by its event loop. */
interface Arrival {
  readonly kind: "timer" | "message";
  readonly handle: () => void;
}

/**
 * The clock of one simulated process, for servers' and clients' code, and its event loop. Its wall time may jump, and its timers
 * die with it. While the process is frozen, its clock continues, and its timers and messages pile up.
 */
export class ProcessClock {
  readonly #time: ManualClock;
  readonly #chance: Chance;

  /** How far its wall is off the simulation's. */
  wallOffsetMs = 0;
  readonly #waits = new Set<() => void>();
  /** What waits for a frozen process; undefined: the process runs. */
  #backlog: Arrival[] | undefined;
  #isFrozen = false;
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
    const ring = (): void => {
      if (this.#waits.delete(cancel)) callback();
    };
    const cancelWait = this.#time.after(delayMs, () => this.#arrive({ kind: "timer", handle: ring }));
    const cancel = (): void => {
      if (this.#waits.delete(cancel)) cancelWait();
    };
    this.#waits.add(cancel);
    return cancel;
  }

  /** Whether nothing of the process runs: it is frozen, or still handles what piled up. */
  get isBehind(): boolean {
    return this.#backlog !== undefined;
  }

  /** A message reaches the process, which handles it at once unless it is frozen. One that is dead never does. */
  deliver(handle: () => void): void {
    this.#arrive({ kind: "message", handle });
  }

  /** Resolves when the process handles a message that reaches it now. Never if it is dead by then. */
  async awake(): Promise<void> {
    if (this.dead || this.#backlog !== undefined) await new Promise<void>((resolve) => this.deliver(resolve));
  }

  /** The process stands still from now on. */
  freeze(): void {
    this.#isFrozen = true;
    this.#backlog ??= [];
  }

  /** The process continues, with everything that piled up, one after the other. */
  thaw(): void {
    if (!this.#isFrozen || this.dead) return;
    this.#isFrozen = false;
    const order = this.#chance.pick(ORDERS);
    if (order !== "as they came") {
      const first = order === "timers first" ? "timer" : "message";
      this.#backlog!.sort((a, b) => Number(b.kind === first) - Number(a.kind === first));
    }
    void this.#catchUp();
  }

  /** The process is gone: nothing rings any more. */
  die(): void {
    this.dead = true;
    this.#backlog = undefined;
    for (const cancel of this.#waits) cancel();
  }

  #arrive(arrival: Arrival): void {
    if (this.dead) return;
    if (this.#backlog !== undefined) this.#backlog.push(arrival);
    else arrival.handle();
  }

  async #catchUp(): Promise<void> {
    catchingUp++;
    while (!this.#isFrozen && !this.dead) {
      const next = this.#backlog!.shift();
      if (next === undefined) {
        this.#backlog = undefined;
        break;
      }
      next.handle();
      await nextTurn();
    }
    catchingUp--;
  }
}
