import type { MemberInfo, ObjectInfo } from "@frontcache/proto";
import { BoundedMap } from "@frontcache/proto/runtime";
import type { Clock } from "../runtime/clock.js";
import { LEASE_MS } from "./granted-leases.js";

/** Leases held at a time, about 300 bytes each without the headers of their objects. */
const CAPACITY = 100_000;
/** The memory for these headers. */
const MAX_HEADER_BYTES = 64 << 20;
/**
 * How often the leases in use are renewed: 2.5 requests per second to one home, so that two members that renew leases of each other send
 * 5. A renewal has LEASE_MS - RENEW_EVERY_MS = 200 ms to arrive.
 */
const RENEW_EVERY_MS = 400;
/** Leases in one renewal: an id has at most 8 bytes, and a request at most 256 KiB. */
const MAX_RENEWED = 20_000;
/** Leases that were not used for so long are not renewed. */
const UNUSED_MS = 5_000;

/** Another member's record of an object, which this member may answer by for a while. */
export interface HeldLease {
  readonly id: number;
  /** Undefined: there is no such object. */
  readonly info: ObjectInfo | undefined;
  readonly isBucketMissing: boolean;
  /** The member that granted it. */
  readonly home: MemberInfo;
}

interface Held extends HeldLease {
  expiresAtMs: number;
  usedAtMs: number;
}

/** A renewal's outcome. */
export interface Renewal {
  readonly refused: readonly number[];
  /** Counted from when the renewal was sent. */
  readonly leaseMs: number;
}

/** The leases that this member holds. They count from when the question or the renewal was sent: the home counts from later. */
export class HeldLeases {
  readonly #clock: Pick<Clock, "monotonicMs" | "after">;
  readonly #renew: (home: MemberInfo, ids: readonly number[]) => Promise<Renewal>;
  readonly #byUrl = new BoundedMap<string, Held>(CAPACITY, undefined, {
    limit: MAX_HEADER_BYTES,
    of: ({ info }) => info?.headers?.length ?? 0,
  });
  /** When the lease of an object was dropped last, monotonic milliseconds. Forgotten when no lease from before can be valid. */
  readonly #droppedAtMs = new Map<string, number>();
  readonly #renewing = new Set<string>();
  #cancelTimer: (() => void) | undefined;

  constructor(
    clock: Pick<Clock, "monotonicMs" | "after">,
    renew: (home: MemberInfo, ids: readonly number[]) => Promise<Renewal>,
  ) {
    this.#clock = clock;
    this.#renew = renew;
  }

  get size(): number {
    return this.#byUrl.size;
  }

  /** The valid lease of an object's record. Counts as a use. */
  use(url: string): HeldLease | undefined {
    const held = this.#valid(url);
    if (held !== undefined) held.usedAtMs = this.#clock.monotonicMs();
    return held;
  }

  /** The same without counting as a use. */
  peek(url: string): HeldLease | undefined {
    return this.#valid(url);
  }

  /**
   * A lease was granted in the answer to a question that was sent at `sentAtMs`. It is ignored if the object has changed since:
   * 1. This member asks the home, which grants a lease of v1.
   * 2. The home observes v2, and has this member drop its lease. That call overtakes the answer of 1.
   * 3. This member confirms, and the home hands out v2.
   * 4. The answer of 1 arrives.
   */
  add(url: string, lease: HeldLease, sentAtMs: number, leaseMs: number): void {
    const nowMs = this.#clock.monotonicMs();
    if (sentAtMs <= (this.#droppedAtMs.get(url) ?? Number.NEGATIVE_INFINITY)) return;
    this.#byUrl.set(url, { ...lease, expiresAtMs: sentAtMs + leaseMs, usedAtMs: nowMs });
    this.#cancelTimer ??= this.#clock.after(RENEW_EVERY_MS, this.#tick);
  }

  /** The object has changed. */
  drop(url: string): void {
    this.#byUrl.delete(url);
    const nowMs = this.#clock.monotonicMs();
    this.#droppedAtMs.delete(url);
    this.#droppedAtMs.set(url, nowMs);
    for (const [dropped, atMs] of this.#droppedAtMs) {
      if (atMs + LEASE_MS >= nowMs) break;
      this.#droppedAtMs.delete(dropped);
    }
  }

  #valid(url: string): Held | undefined {
    const held = this.#byUrl.peek(url);
    return held === undefined || held.expiresAtMs <= this.#clock.monotonicMs() ? undefined : held;
  }

  /** Drops the leases of all objects whose URLs begin like this. */
  dropUnder(prefix: string): void {
    for (const [url] of this.#byUrl) if (url.startsWith(prefix)) this.#byUrl.delete(url);
  }

  close(): void {
    this.#byUrl.clear();
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  readonly #tick = (): void => {
    const nowMs = this.#clock.monotonicMs();
    const due = new Map<string, { readonly home: MemberInfo; readonly leases: Map<number, string> }>();
    for (const [url, held] of this.#byUrl) {
      const isUnused = nowMs - held.usedAtMs >= UNUSED_MS;
      if (isUnused && held.expiresAtMs <= nowMs) this.#byUrl.delete(url);
      else if (!isUnused) {
        const { grpcAddress } = held.home;
        let batch = due.get(grpcAddress);
        if (batch === undefined) {
          batch = { home: held.home, leases: new Map() };
          due.set(grpcAddress, batch);
        }
        if (batch.leases.size < MAX_RENEWED) batch.leases.set(held.id, url);
      }
    }
    for (const { home, leases } of due.values()) void this.#renewAt(home, leases, nowMs);
    this.#cancelTimer = this.#byUrl.size === 0 ? undefined : this.#clock.after(RENEW_EVERY_MS, this.#tick);
  };

  /** A home that does not answer renews nothing: the leases expire. */
  async #renewAt(home: MemberInfo, leases: ReadonlyMap<number, string>, sentAtMs: number): Promise<void> {
    const { grpcAddress } = home;
    if (this.#renewing.has(grpcAddress)) return;
    this.#renewing.add(grpcAddress);
    try {
      const { refused, leaseMs } = await this.#renew(home, [...leases.keys()]);
      const ended = new Set(refused);
      for (const [id, url] of leases) {
        const held = this.#byUrl.peek(url);
        // It may have been revoked, or replaced by a newer one, while the renewal was on its way.
        if (held?.id !== id) continue;
        if (ended.has(id)) this.#byUrl.delete(url);
        else held.expiresAtMs = Math.max(held.expiresAtMs, sentAtMs + leaseMs);
      }
    } catch {
    } finally {
      this.#renewing.delete(grpcAddress);
    }
  }
}
