import type { MemberInfo, ObjectRef } from "@frontcache/proto";
import { type BoundedMap, sleep } from "@frontcache/proto/runtime";
import type { CurrentRecord } from "../cache/freshness.js";
import type { Clock } from "../runtime/clock.js";
import type { DecidedRecords, Decision } from "./decided-records.js";
import type { HomeChanges } from "./home-changes.js";
import type { RetainingMembers } from "./retaining-members.js";

export interface SubstitutionOptions {
  readonly retaining: RetainingMembers;
  readonly changes: HomeChanges;
  readonly decided: DecidedRecords;
  /** By URL: the version that this member and the home agreed on last. */
  readonly agreed: BoundedMap<string, string>;
  readonly clock: Pick<Clock, "monotonicMs" | "after">;
  /** Aborted when the member closes. */
  readonly signal: AbortSignal;
}

type Wanted = Pick<Decision, "needs" | "budget">;

/**
 * Decides in place of a member that cannot be reached. That member may have granted leases:
 * 1. Home H leases v1 to member L, and dies. The object is overwritten with v2.
 * 2. This member finds that H is gone, and asks the origin for each read. The answer is v2.
 * 3. L still answers with v1. A client that got v2 here and v1 there would see the object go back.
 * 4. So v2 waits until no lease of H can be valid. v1, on which H and this member agreed, would not have to wait.
 */
export class Substitution {
  readonly #options: SubstitutionOptions;
  /** By URL: resolves when no lease of an older version than the one that was observed here is left. */
  readonly #waiting = new Map<string, Promise<void>>();

  constructor(options: SubstitutionOptions) {
    this.#options = options;
  }

  /** The record of an object about which a member decided that is gone. Undefined: there is no such object. */
  async record(gone: MemberInfo, ref: ObjectRef, wanted: Wanted): Promise<CurrentRecord | undefined> {
    const { retaining, changes, clock } = this.#options;
    const sinceMs = retaining.goneSinceMs(gone);
    // Another member may have decided in the meantime, unless this one is the only one that may.
    const mayRemember = changes.isSubstitute(ref.url) && changes.leasesLastMs(sinceMs) === 0;
    const record = await this.#observe(ref, wanted, {
      sinceMs,
      notBeforeMs: mayRemember ? retaining.undecidedSinceMs(gone) : clock.monotonicMs(),
    });
    if (record !== undefined) this.#options.agreed.set(ref.url, record.info.version);
    return record;
  }

  /**
   * The origin's record of an object about which no member decides, although all of them answer. Undefined: there is no such object.
   * Before it is handed out, the others must be asked again: see `RecordLookup.atDecider`.
   */
  undecidedRecord(ref: ObjectRef, wanted: Wanted): Promise<CurrentRecord | undefined> {
    const nowMs = this.#options.clock.monotonicMs();
    return this.#observe(ref, wanted, { sinceMs: nowMs, notBeforeMs: nowMs });
  }

  /** Resolves when no lease can be valid that was granted by a member that is gone; undefined: by any member until now. */
  leasesEnd(gone: MemberInfo | undefined): Promise<void> {
    const { clock, retaining } = this.#options;
    return this.#leasesEnd(gone === undefined ? clock.monotonicMs() : retaining.goneSinceMs(gone));
  }

  /** Resolves when the version that was observed in place of a gone member may be handed out. Undefined: it may. */
  waiting(url: string): Promise<void> | undefined {
    return this.#waiting.size === 0 ? undefined : this.#waiting.get(url);
  }

  /** Asks the origin. Another version than the agreed one waits for the leases of older ones, which nobody has granted since then. */
  async #observe(
    ref: ObjectRef,
    { needs, budget }: Wanted,
    { sinceMs, notBeforeMs }: { readonly sinceMs: number; readonly notBeforeMs: number },
  ): Promise<CurrentRecord | undefined> {
    const { decided, agreed, signal } = this.#options;
    const record = await decided.current(ref, signal, { needs, budget, notBeforeMs });
    if (record === undefined || record.info.version !== agreed.peek(ref.url)) await this.#wait(ref.url, sinceMs);
    return record;
  }

  async #wait(url: string, sinceMs: number): Promise<void> {
    const ended = this.#leasesEnd(sinceMs);
    this.#waiting.set(url, ended);
    try {
      await ended;
    } finally {
      if (this.#waiting.get(url) === ended) this.#waiting.delete(url);
    }
  }

  async #leasesEnd(sinceMs: number): Promise<void> {
    const { changes, clock, signal } = this.#options;
    const waitMs = changes.leasesLastMs(sinceMs);
    if (waitMs > 0) await sleep(clock, waitMs, signal);
  }
}
