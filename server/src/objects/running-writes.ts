import { CacheError } from "@frontcache/proto";
import type { Clock } from "../runtime/clock.js";

/**
 * How long a write counts as running after its member has last said so, milliseconds. A member that runs one says so more often. After
 * a failure, an origin may still take a write that it has received.
 */
export const WRITE_MS = 60_000;

/** Writes at a time, about 200 bytes each. */
const CAPACITY = 200_000;

/** The writes that an origin may take, or may have taken, at any moment. */
export class RunningWrites {
  readonly #clock: Pick<Clock, "monotonicMs">;
  /** The ids of the writes of each object. */
  readonly #writes = new Map<string, Set<string>>();
  /** In the order in which they were reported last, so that those that count no more come first. */
  readonly #order = new Map<string, { readonly url: string; readonly id: string; readonly untilMs: number }>();

  constructor(clock: Pick<Clock, "monotonicMs">) {
    this.#clock = clock;
  }

  /** Whether a write of the object runs, or may have changed it without an outcome. */
  has(url: string): boolean {
    if (this.#writes.size === 0) return false;
    this.#dropOld();
    return this.#writes.has(url);
  }

  /** The write runs from now on, or still. Throws RESOURCE_EXHAUSTED if there are too many. */
  begun(url: string, id: string): void {
    this.#dropOld();
    const key = `${id} ${url}`;
    if (!this.#order.delete(key) && this.#order.size >= CAPACITY) {
      throw new CacheError("RESOURCE_EXHAUSTED", `${url}: ${CAPACITY} objects are being written: try again later`);
    }
    const untilMs = this.#clock.monotonicMs() + WRITE_MS;
    this.#order.set(key, { url, id, untilMs });
    let ofObject = this.#writes.get(url);
    if (ofObject === undefined) {
      ofObject = new Set();
      this.#writes.set(url, ofObject);
    }
    ofObject.add(id);
  }

  ended(url: string, id: string): void {
    this.#order.delete(`${id} ${url}`);
    const ofObject = this.#writes.get(url);
    if (ofObject === undefined || !ofObject.delete(id)) return;
    if (ofObject.size === 0) this.#writes.delete(url);
  }

  /** The ids of the writes of each object that fulfils a condition. */
  of(isRequested: (url: string) => boolean): [url: string, ids: string[]][] {
    this.#dropOld();
    return [...this.#writes].filter(([url]) => isRequested(url)).map(([url, ids]) => [url, [...ids]]);
  }

  #dropOld(): void {
    const nowMs = this.#clock.monotonicMs();
    for (const { url, id, untilMs } of this.#order.values()) {
      if (untilMs > nowMs) return;
      this.ended(url, id);
    }
  }
}
