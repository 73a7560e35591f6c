import { CacheError } from "@frontcache/proto";
import type { Clock } from "../runtime/clock.js";

/** How far in the future another member's time may lie: a broken clock must not make versions that nobody can overwrite. */
const MAX_AHEAD_MS = 24 * 3_600_000;
const TIME_DIGITS = 12;
const COUNT_DIGITS = 5;
const MAX_COUNT = 16 ** COUNT_DIGITS - 1;
const VERSION = /^([0-9a-f]{12})([0-9a-f]{5})-[^\s/]{1,253}$/;

/**
 * Hybrid logical time (Kulkarni et al., 2014): wall time, but always later than every version that this member has made or received. Versions are
 * texts that compare as their times do: 12 digits of milliseconds, 5 of a counter, and the member's name, which makes them unique.
 */
export class HybridClock {
  readonly #clock: Pick<Clock, "nowMs">;
  readonly #member: string;
  #timeMs = 0;
  #count = 0;

  constructor(clock: Pick<Clock, "nowMs">, member: string) {
    this.#clock = clock;
    this.#member = member.replace(/[\s/]/g, "_").slice(0, 253);
  }

  /** Returns a version that is larger than all before. */
  next(): string {
    const nowMs = Math.max(0, Math.floor(this.#clock.nowMs()));
    if (nowMs > this.#timeMs) this.#count = 0;
    else if (this.#count === MAX_COUNT) this.#timeMs++;
    this.#count = nowMs > this.#timeMs || this.#count === MAX_COUNT ? 0 : this.#count + 1;
    this.#timeMs = Math.max(nowMs, this.#timeMs);
    return `${hex(this.#timeMs, TIME_DIGITS)}${hex(this.#count, COUNT_DIGITS)}-${this.#member}`;
  }

  /** Takes note of a version of another member. Throws INVALID_ARGUMENT if it is none, or lies more than a day in the future. */
  observe(version: string): void {
    const match = VERSION.exec(version);
    if (match === null)
      throw new CacheError("INVALID_ARGUMENT", `${JSON.stringify(version.slice(0, 100))} is no version of a value`);
    const timeMs = Number.parseInt(match[1]!, 16);
    if (timeMs > this.#clock.nowMs() + MAX_AHEAD_MS) {
      throw new CacheError("INVALID_ARGUMENT", `version ${version} is more than a day in the future: set the members' clocks`);
    }
    const count = Number.parseInt(match[2]!, 16);
    if (timeMs > this.#timeMs) [this.#timeMs, this.#count] = [timeMs, count];
    else if (timeMs === this.#timeMs) this.#count = Math.max(this.#count, count);
  }
}

/** When a version was made, milliseconds since 1970. */
export function timeOf(version: string): number {
  return Number.parseInt(version.slice(0, TIME_DIGITS), 16);
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, "0");
}
