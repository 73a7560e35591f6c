import { CacheError, isSameInfo, type MemberInfo, type ObjectInfo, type ObjectRef } from "@frontcache/proto";
import { untilAborted } from "@frontcache/proto/runtime";
import type { CurrentRecord } from "../cache/freshness.js";
import { type LocalCache, lacks, type Needs } from "../cache/local-cache.js";
import type { RequestBudget } from "../origin/request-budget.js";
import type { Clock } from "../runtime/clock.js";
import { inTurns } from "../runtime/in-turns.js";
import { CLIENT_LEASE_MS, GrantedLeases, type GrantedLeasesOptions, LEASE_MS } from "./granted-leases.js";
import { RunningWrites } from "./running-writes.js";

export interface DecidedRecordsOptions {
  readonly clock: Pick<Clock, "monotonicMs" | "after">;
  readonly local: Pick<LocalCache, "current" | "freshness" | "records">;
  readonly leases: Omit<GrantedLeasesOptions, "clock">;
  /** How old a record may be. */
  readonly revalidateAfterMs: number;
  /** How old an absence may be. */
  readonly negativeTtlMs: number;
  /** Whether an earlier process of this member may have granted leases a moment ago. */
  readonly isRestarted: boolean;
}

/** What is needed of a record, and how old it may be. */
export interface Decision {
  /** Absent: version and size. */
  readonly needs?: Needs | undefined;
  /** What the origin answered to requests before this moment does not count, monotonic milliseconds. */
  readonly notBeforeMs?: number | undefined;
  /** Counts the requests to the origin. */
  readonly budget?: RequestBudget | undefined;
}

/** Any answer counts that is not remembered yet. */
const AFTER_DOUBT = -Number.MAX_VALUE;

/**
 * The records of objects at the member that decides about them: as fresh as the settings demand, leased to others, and not handed
 * out in a new version before all leases of the old one have ended.
 */
export class DecidedRecords {
  readonly #options: DecidedRecordsOptions;
  readonly #leases: GrantedLeases;
  /** Objects with another version than before, until no lease of the old version is left. */
  readonly #changing = new Map<string, Promise<void>>();
  /** Resolves when the leases of an earlier process have expired, whatever they were of. Undefined: they have. */
  #earlierLeases: Promise<void> | undefined;
  /** Writes that may change objects at any moment. */
  readonly writing: RunningWrites;
  /** Whether there are members that may decide in place of this one. */
  hasOthers = false;

  constructor(options: DecidedRecordsOptions) {
    this.#options = options;
    this.writing = new RunningWrites(options.clock);
    this.#leases = new GrantedLeases({ ...options.leases, clock: options.clock });
    if (options.isRestarted) {
      this.#earlierLeases = new Promise((resolve) => options.clock.after(LEASE_MS, resolve));
      void this.#earlierLeases.then(() => {
        this.#earlierLeases = undefined;
      });
    }
  }

  /** Leases that are granted. */
  get leases(): number {
    return this.#leases.size;
  }

  /** Resolves when no lease of an older version of the object, about which this member decides, is left. Undefined: none is. */
  changing(url: string): Promise<void> | undefined {
    if (this.#earlierLeases !== undefined && this.hasOthers) return this.#earlierLeases;
    return this.revoking(url);
  }

  /** The same of the leases that this member granted while it decided about the object. */
  revoking(url: string): Promise<void> | undefined {
    return this.#changing.size === 0 ? undefined : this.#changing.get(url);
  }

  /** A version, or absence, was observed in place of another one, or was rejected. */
  changed(url: string): void {
    const revoked = this.#leases.revoke(url);
    if (revoked === undefined) return;
    const before = this.#changing.get(url);
    const settled = Promise.all([before, revoked]).then(() => {
      if (this.#changing.get(url) === settled) this.#changing.delete(url);
    });
    this.#changing.set(url, settled);
  }

  /** The record, if it is fresh and suffices. Throws NOT_FOUND if the absence is fresh. */
  fresh(url: string, needs: Needs): ObjectInfo | undefined {
    const fresh =
      this.changing(url) !== undefined || this.writing.has(url) ? undefined : this.#options.local.freshness.fresh(url);
    return fresh !== undefined && !lacks(fresh, needs) ? fresh : undefined;
  }

  /**
   * The record, as soon as the origin has confirmed it, if that is necessary, and no lease of another version is left. Undefined: there
   * is no such object.
   */
  async current(ref: ObjectRef, signal: AbortSignal, decision: Decision = {}): Promise<CurrentRecord | undefined> {
    const { url } = ref;
    for (;;) {
      const changing = this.changing(url);
      if (changing !== undefined) await untilAborted(changing, signal);
      const asked = this.#asked(url, decision);
      const record = await this.#options.local.current(ref, signal, asked).catch((error: unknown) => {
        if (CacheError.from(error).code !== "NOT_FOUND") throw error;
        return undefined;
      });
      if (this.changing(url) === undefined) return record;
    }
  }

  /** How the origin is asked: anew if a write may have changed the object. */
  #asked(url: string, decision: Decision): Decision & { readonly hasFallback?: boolean } {
    if (this.writing.has(url)) {
      const { notBeforeMs = Number.NEGATIVE_INFINITY } = decision;
      const nowMs = this.#options.clock.monotonicMs();
      return { ...decision, notBeforeMs: Math.max(notBeforeMs, nowMs), hasFallback: false };
    }
    return this.isDoubtful(url) ? { notBeforeMs: AFTER_DOUBT, ...decision } : decision;
  }

  /**
   * Whether another member may know better, because this member stood still, or became the home since it observed the object; or a
   * write may have changed the object. Then a read waits for the origin, as long as it takes: the known version may be older than one that was received already.
   */
  isDoubtful(url: string): boolean {
    return (this.hasOthers && this.#options.local.records.isExpired(url)) || this.writing.has(url);
  }

  /** Leases a record, or an absence, that `current` has just resolved with. Undefined: it can't be leased. */
  lease(url: string, holder: MemberInfo, info: ObjectInfo | undefined): { id: number; forMs: number } | undefined {
    const forMs = this.#leaseMs(url);
    if (forMs === 0 || !this.#isCurrent(url, info)) return undefined;
    const id = this.#leases.grant(url, holder, info, forMs);
    return id === 0 ? undefined : { id, forMs };
  }

  /** Leases the record of a version to a client. Returns for how long, milliseconds; 0: the version is not, or may not be, the current one. */
  leaseToClient(url: string, version: string): number {
    const forMs = Math.min(CLIENT_LEASE_MS, this.#leaseMs(url));
    const info = this.#options.local.records.unexpired(url)?.info;
    const mayLease = forMs > 0 && info?.version === version && this.#isCurrent(url, info);
    return mayLease && this.#leases.grantToClient(url, info, forMs) ? forMs : 0;
  }

  /**
   * Extends a lease by LEASE_MS if its record is still current and stays fresh for so long. Returns whether it did. Counts as a use of the
   * record: it is revalidated ahead, so that the holders of leases need not ask again when it expires.
   */
  renew(id: number, holder: string, decides: (url: string) => boolean): boolean {
    const { freshness } = this.#options.local;
    return this.#leases.renew(id, holder, (url, info) => {
      if (!decides(url) || !this.#isCurrent(url, info)) return false;
      if (info !== undefined) freshness.fresh(url);
      return this.#leaseMs(url) === LEASE_MS;
    });
  }

  /** Ends the leases of objects. Resolves when none of them, and none of an older version of these objects, is left. */
  async release(isReleased: (url: string) => boolean): Promise<void> {
    // Like a change: if this member decides again before a lease has ended, a newer version waits for that lease.
    for await (const url of inTurns(this.#leases.urls())) if (isReleased(url)) this.changed(url);
    const ends: (Promise<void> | undefined)[] = [];
    for (const [url, changing] of this.#changing) if (isReleased(url)) ends.push(changing);
    if (this.hasOthers) ends.push(this.#earlierLeases);
    await Promise.all(ends);
  }

  /** Whether this is what is remembered of an object, and not expired. */
  #isCurrent(url: string, info: ObjectInfo | undefined): boolean {
    const observation = this.#options.local.records.unexpired(url);
    if (observation === undefined || this.changing(url) !== undefined || this.writing.has(url)) return false;
    const { info: known } = observation;
    return known === info || (known !== undefined && info !== undefined && isSameInfo(known, info));
  }

  /** How long a lease of the object's record may be: not longer than the record is fresh. */
  #leaseMs(url: string): number {
    const { clock, local, revalidateAfterMs, negativeTtlMs } = this.#options;
    const observation = local.records.unexpired(url);
    if (observation === undefined) return 0;
    const ttlMs = observation.info === undefined ? negativeTtlMs : revalidateAfterMs;
    const remainingMs = Math.floor(observation.askedAtMs + ttlMs - clock.monotonicMs());
    return Math.max(0, Math.min(LEASE_MS, remainingMs));
  }
}
