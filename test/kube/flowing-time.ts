import { ManualClock } from "@frontcache/server/testing";

/** Time that flows by each turn of the event loop, so that real sockets keep pace and long waits pass quickly. */
const TURN_MS = 10;

/** A clock whose time passes only while a test waits. */
export class FlowingTime {
  readonly clock = new ManualClock(Date.UTC(2024, 4, 1));

  /** Lets so much time pass. */
  async pass(durationMs: number): Promise<void> {
    const untilMs = this.clock.monotonicMs() + durationMs;
    while (this.clock.monotonicMs() < untilMs) await this.#turn();
  }

  /** Lets time pass until something holds, and returns how much of it; fails after `limitMs` of that time. */
  async until(what: string, holds: () => boolean, limitMs = 60_000): Promise<number> {
    const beganMs = this.clock.monotonicMs();
    while (!holds()) {
      const passedMs = this.clock.monotonicMs() - beganMs;
      if (passedMs > limitMs) throw new Error(`after ${limitMs} ms it is still not so that ${what}`);
      await this.#turn();
    }
    return this.clock.monotonicMs() - beganMs;
  }

  async #turn(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    this.clock.advance(TURN_MS);
  }
}
