import { CacheError, type ObjectRef } from "@frontcache/proto";
import { BoundedMap, untilAborted } from "@frontcache/proto/runtime";
import type { LocalCache } from "../cache/local-cache.js";
import type { Clock } from "../runtime/clock.js";
import type { DecidedRecords } from "./decided-records.js";
import type { RecordLookup } from "./record-lookup.js";
import type { Substitution } from "./substitution.js";

/** Versions of objects that were reported, about 200 bytes each. */
const REPORTED_VERSIONS = 100_000;

export interface ObservedVersionsOptions {
  readonly lookup: RecordLookup;
  readonly decided: DecidedRecords;
  readonly substitution: Substitution;
  /** By URL: the version that this member and the home agreed on last. */
  readonly agreed: BoundedMap<string, string>;
  readonly records: LocalCache["records"];
  readonly clock: Pick<Clock, "monotonicMs">;
  /** Aborted when the member closes. */
  readonly signal: AbortSignal;
}

/** Where a version was learned of. */
type Source =
  /** Bytes of it were received: it exists. */
  | "received"
  /** A client requires it: it may never have existed. */
  | "claimed";

/**
 * Versions that this member learned of before the object's home. They are reported to the home, so that it does not answer with an
 * older version after a client has received bytes of a newer one.
 */
export class ObservedVersions {
  readonly #options: ObservedVersionsOptions;
  readonly #reported = new BoundedMap<string, true>(REPORTED_VERSIONS);
  /** Reports on their way, by version and URL. */
  readonly #running = new Map<string, Promise<void>>();
  /** By URL: resolves when all reports about the object that are on their way have arrived. */
  readonly #pending = new Map<string, Promise<void>>();

  constructor(options: ObservedVersionsOptions) {
    this.#options = options;
  }

  /** Resolves when the versions of an object that are being reported may be handed out. Undefined: all of them may. */
  pending(url: string): Promise<void> | undefined {
    return this.#pending.size === 0 ? undefined : this.#pending.get(url);
  }

  /**
   * Bytes of a version were received that the home may not know of. Resolves when no member answers with an older version any more.
   * Undefined: the home knows. Rejects only if the signal is aborted.
   */
  received(ref: ObjectRef, version: string, signal: AbortSignal): Promise<void> | undefined {
    const { url } = ref;
    const { agreed, lookup } = this.#options;
    if (agreed.peek(url) === version || lookup.decider(url) === "here") return undefined;
    const key = `${version} ${url}`;
    if (this.#reported.peek(key) !== undefined) return undefined;
    return untilAborted(this.#running.get(key) ?? this.#start(key, ref, version), signal);
  }

  /** A client requires a version that the home does not know: the origin is asked. Rejects only if the signal is aborted. */
  async claimed(ref: ObjectRef, version: string, signal: AbortSignal): Promise<void> {
    await this.report(ref, version, "claimed", 0, signal).catch(() => {
      if (signal.aborted) throw CacheError.from(signal.reason);
    });
  }

  /** Has the member that decides about the object learn of the version. `hops`: how many members passed the report on. */
  async report(ref: ObjectRef, version: string, source: Source, hops: number, signal: AbortSignal): Promise<void> {
    const { url } = ref;
    const { lookup, decided, records, substitution, clock } = this.#options;
    const isOutdated = (): boolean => {
      const known = records.observation(url);
      return known !== undefined && known.info?.version !== version;
    };
    await lookup.atDecider(url, hops, signal, {
      here: async () => {
        // Known, perhaps by another member's report a moment ago: leases of the older version may be left.
        if (!isOutdated()) return untilAborted(decided.changing(url) ?? Promise.resolve(), signal);
        const notBeforeMs = clock.monotonicMs();
        // If the origin does not answer now, it is asked before the next read.
        if (source === "received") records.expire(url);
        await decided.current(ref, signal, { notBeforeMs });
      },
      elsewhere: (members, asked) => {
        // This member may become the one that decides. A record that is handed over to it may be an older one.
        if (source === "received" && (isOutdated() || records.observation(url) === undefined)) records.expire(url);
        return lookup.ask(members, url, { [source]: version }, asked);
      },
      answered: () => {},
      inPlaceOf: async (decider) => {
        if (source === "claimed" && isOutdated()) await decided.current(ref, signal, { notBeforeMs: clock.monotonicMs() });
        // This member may have a lease of an older version, too.
        await substitution.leasesEnd(decider);
      },
      undecided: async () => {
        if (source === "received") await substitution.leasesEnd(undefined);
      },
    });
  }

  #start(key: string, ref: ObjectRef, version: string): Promise<void> {
    const { url } = ref;
    const { signal } = this.#options;
    const report = this.report(ref, version, "received", 0, signal).then(
      () => void this.#reported.set(key, true),
      () => {},
    );
    const pending = Promise.all([this.#pending.get(url), report]).then(() => {
      if (this.#pending.get(url) === pending) this.#pending.delete(url);
    });
    this.#running.set(key, report);
    this.#pending.set(url, pending);
    void report.then(() => this.#running.delete(key));
    return report;
  }
}
