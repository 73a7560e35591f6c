import type { ObjectInfo } from "@frontcache/proto";
import { BoundedMap } from "@frontcache/proto/runtime";
import type { Clock } from "../members/clock.js";
import type { EvictSelector } from "../members/ports.js";

/** A record that is current until its lease ends. */
export type CurrentVersion = Pick<ObjectInfo, "version" | "objectSize">;

interface Lease extends CurrentVersion {
  readonly expiresAtMs: number;
}

/** Leases at a time, about 200 bytes each. */
const CAPACITY = 10_000;

/**
 * Which versions of objects are current, by leases of the members that decide. Until a lease has ended, no member answers with a newer
 * version. Leases count from when the question was sent: the member counts from later.
 */
export class LeasedVersions {
  readonly #clock: Pick<Clock, "monotonicMs">;
  readonly #byUrl = new BoundedMap<string, Lease>(CAPACITY);
  /** When leases were dropped last. Answers to earlier questions are ignored, because the object may have changed since. */
  #droppedAtMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Pick<Clock, "monotonicMs">) {
    this.#clock = clock;
  }

  /** The current version of an object; undefined if it must be asked for. */
  current(url: string): CurrentVersion | undefined {
    const lease = this.#byUrl.get(url);
    return lease !== undefined && this.#clock.monotonicMs() < lease.expiresAtMs ? lease : undefined;
  }

  /** Adds the lease in the answer to a question that was sent at `sentAtMs`. */
  add(url: string, { version, objectSize }: CurrentVersion, sentAtMs: number, leaseMs: number): void {
    if (sentAtMs <= this.#droppedAtMs) return;
    this.#byUrl.set(url, { version, objectSize, expiresAtMs: sentAtMs + leaseMs });
  }

  /** Drops the leases of an object, or of all objects with a prefix, which this client has changed. */
  drop(selector: EvictSelector): void {
    this.#droppedAtMs = this.#clock.monotonicMs();
    if ("prefix" in selector) for (const [url] of this.#byUrl) if (url.startsWith(selector.prefix)) this.#byUrl.delete(url);
    if ("url" in selector) this.#byUrl.delete(selector.url);
  }
}
