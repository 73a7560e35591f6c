import { ManualClock } from "@frontcache/server/testing";

/** Time that advances with each iteration of the event loop, so that real sockets keep up and long waits end quickly. */
const TURN_MS = 10;

/** A clock whose time advances only while a test waits. */
export class FlowingTime {
  readonly clock = new ManualClock(Date.UTC(2024, 4, 1));

  /** Advances time by `ms`. */
  async pass(durationMs: number): Promise<void> {
    const untilMs = this.clock.monotonicMs() + durationMs;
    while (this.clock.monotonicMs() < untilMs) await this.#step();
  }

  /** Advances time until a condition is true, and returns the elapsed time; fails after `limitMs` of it. */
  async until(what: string, condition: () => boolean, limitMs = 60_000): Promise<number> {
    const beganMs = this.clock.monotonicMs();
    while (!condition()) {
      const passedMs = this.clock.monotonicMs() - beganMs;
      if (passedMs > limitMs) throw new Error(`after ${limitMs} ms it is still not so that ${what}`);
      await this.#step();
    }
    return this.clock.monotonicMs() - beganMs;
  }

  async #step(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    this.clock.advance(TURN_MS);
  }
}
