import { setMaxListeners } from "node:events";
import { CacheError, type MemberInfo, type Membership, type ObjectInfo, type ObjectRef } from "@frontcache/proto";
import { BoundedMap, untilAborted } from "@frontcache/proto/runtime";
import type { CurrentRecord } from "../cache/freshness.js";
import { type LocalCache, lacks, type Needs } from "../cache/local-cache.js";
import { questionBudget, type RequestBudget } from "../origin/request-budget.js";
import type { Clock } from "../runtime/clock.js";
import type { EvictSelector } from "../storage/storage-report.js";
import { DecidedRecords } from "./decided-records.js";
import { type HeldLease, HeldLeases, type Renewal } from "./held-leases.js";
import { HomeChanges } from "./home-changes.js";
import { type ListedVersion, ListedVersions } from "./listed-versions.js";
import { ObjectAnswers, type ObjectService } from "./object-answers.js";
import { type ObjectWrite, ObjectWrites } from "./object-writes.js";
import { ObservedVersions } from "./observed-versions.js";
import type { Peers } from "./peers.js";
import { leasedRecord, RecordLookup, type Wanted } from "./record-lookup.js";
import { RecordQuestions } from "./record-questions.js";
import { RetainingMembers } from "./retaining-members.js";
import { SharedQuestions } from "./shared-questions.js";
import { Standstill } from "./standstill.js";
import { Substitution } from "./substitution.js";
import { TakeOvers } from "./take-overs.js";

export interface ObjectHomesOptions {
  readonly peers: Peers;
  readonly membership: Membership;
  readonly clock: Clock & { random(): number };
  readonly local: Pick<LocalCache, "current" | "freshness" | "records">;
  /** How old a record may be. */
  readonly revalidateAfterMs: number;
  /** How old an absence may be. */
  readonly negativeTtlMs: number;
  /** Whether a record may be used that nobody could confirm. */
  readonly staleIfError: boolean;
  /** Whether an earlier process of this member may have granted leases a moment ago. */
  readonly isRestarted: boolean;
  /** Whether there may be other members, in the list of this one or not yet. */
  readonly mayHaveOthers: boolean;
}

/** How long a renewal or a revocation of leases may take. */
const CALL_MS = 5_000;
/** Objects whose version this member and the home agreed on last. */
const AGREED_OBJECTS = 100_000;
const ANY: Wanted = {};

/**
 * One truth per object: one member, the object's home, decides which version is current. Other members ask it, and answer by a
 * lease for a short time. Architecture: docs/architecture.md, "One truth per object".
 */
export class ObjectHomes {
  readonly #options: ObjectHomesOptions;
  /** Answers other members. */
  readonly service: ObjectService;
  /** Who decides. */
  readonly #changes: HomeChanges;
  readonly #takeOvers: TakeOvers;
  readonly #retaining: RetainingMembers;
  readonly #standstill: Standstill;
  /** What this member decides. */
  readonly #decided: DecidedRecords;
  /** What others decided, and leased to this member. */
  readonly #held: HeldLeases;
  readonly #substitution: Substitution;
  readonly #lookup: RecordLookup;
  readonly #observed: ObservedVersions;
  readonly #listed: ListedVersions;
  readonly #writes: ObjectWrites;
  readonly #shared = new SharedQuestions();
  readonly #agreed = new BoundedMap<string, string>(AGREED_OBJECTS);
  readonly #closing = new AbortController();

  constructor(options: ObjectHomesOptions) {
    this.#options = options;
    const { peers, clock, membership, local, staleIfError } = options;
    const { signal } = this.#closing;
    setMaxListeners(0, signal);
    const { records } = local;
    const changes = new HomeChanges(peers.self, clock, membership);
    const decided = new DecidedRecords({
      ...options,
      leases: {
        epoch: Math.floor(clock.random() * 2 ** 20),
        revoke: (holder, urls) => this.#call(urls[0]!, (call) => peers.connections.objects.versionChanged(holder, urls, call)),
      },
    });
    const held = new HeldLeases(clock, (home, ids) => this.#renew(home, ids));
    const takeOvers = new TakeOvers({ peers, changes, decided, records, clock, signal });
    const standstill = new Standstill(clock, () => takeOvers.stoodStill());
    const shared = { peers, changes, decided, records, clock, signal, agreed: this.#agreed };
    const retaining = new RetainingMembers(shared);
    const substitution = new Substitution({ ...shared, retaining });
    const questions = new RecordQuestions(peers, clock, signal);
    const lookup = new RecordLookup({ ...shared, standstill, held, questions, retaining, substitution, staleIfError });
    this.#changes = changes;
    this.#decided = decided;
    this.#held = held;
    this.#takeOvers = takeOvers;
    this.#retaining = retaining;
    this.#standstill = standstill;
    this.#substitution = substitution;
    this.#lookup = lookup;
    this.#observed = new ObservedVersions({ ...shared, lookup, substitution });
    const forget = (url: string): void => this.#drop(url);
    this.#writes = new ObjectWrites({ ...shared, self: peers.self, lookup, substitution, forget });
    const answering = { ...shared, standstill, lookup, observed: this.#observed, writes: this.#writes, takeOvers, forget };
    this.service = new ObjectAnswers(answering);
    this.#listed = new ListedVersions({
      clock,
      isKnown: (url, version) => this.#isKnown(url, version),
      report: ({ ref, version }) => this.#observed.claimed(ref, version, signal),
    });
    this.#watchStandstills(membership);
    takeOvers.started();
  }

  /** Leases granted to other members and held of them, and takeovers that are outstanding, for metrics. */
  status(): { leasesGranted: number; leasesHeld: number; takeOvers: number } {
    return {
      leasesGranted: this.#decided.leases,
      leasesHeld: this.#held.size,
      takeOvers: this.#changes.outstanding.size,
    };
  }

  /** Returns whether this member decides which version of an object is current, and its record of the object is not doubtful. */
  decides(url: string): boolean {
    return this.#lookup.decider(url) === "here" && !this.#decided.isDoubtful(url);
  }

  /** The valid lease of an object's record. Undefined: this member has none. */
  lease(url: string): HeldLease | undefined {
    return this.#held.peek(url);
  }

  /** Resolves when no member answers with an older version than those that are known here. Undefined: none does. */
  changing(url: string): Promise<void> | undefined {
    const changing = this.#lookup.decider(url) === "here" ? this.#decided.changing(url) : this.#decided.revoking(url);
    const pending = this.#observed.pending(url) ?? this.#substitution.waiting(url);
    if (changing === undefined || pending === undefined) return changing ?? pending;
    return Promise.all([changing, pending]).then(() => {});
  }

  /** A version, or absence, was observed in place of another one, or was rejected. */
  changed(url: string): void {
    this.#decided.changed(url);
  }

  /** The record of an object, if this member decides and the record is fresh, or under a lease. Throws NOT_FOUND for an absence. */
  known(ref: ObjectRef, needs: Needs = "version"): ObjectInfo | undefined {
    return this.#lookup.decider(ref.url) === "here" ? this.#decided.fresh(ref.url, needs) : this.#leased(ref, needs);
  }

  /**
   * The record of an object; at once if this member decides and the record is fresh, or under a lease. Rejects or throws NOT_FOUND
   * if there is no such object, and with the origin's error if the origin cannot be asked and nothing is known.
   */
  current(
    ref: ObjectRef,
    signal: AbortSignal,
    { needs = "version", rejected, budget }: Wanted = ANY,
  ): ObjectInfo | Promise<CurrentRecord> {
    const { url } = ref;
    if (rejected !== undefined) return this.#lookup.find(ref, { needs, rejected, budget }, signal);
    const known = this.known(ref, needs);
    if (known !== undefined) return known;
    if (this.#lookup.decider(url) === "here") return this.#lookup.find(ref, { needs, budget }, signal);
    const ask = (): Promise<CurrentRecord> => this.#findElsewhere(ref, needs, questionBudget(budget));
    const leasedMeanwhile = (): CurrentRecord | undefined => {
      const info = this.#leased(ref, needs);
      return info && { info, isStale: false };
    };
    return this.#shared.share({ url, needs }, ask, leasedMeanwhile, signal);
  }

  /**
   * The origin rejected a version, in a request for bytes of this object. Resolves when the home knows, or cannot be asked. Rejects if
   * the signal is aborted, and with INTERNAL if a defect was found.
   */
  async rejected(ref: ObjectRef, version: string, signal: AbortSignal): Promise<void> {
    const { url } = ref;
    if (this.#lookup.decider(url) === "here") {
      this.#options.local.records.reject(url, version);
      return;
    }
    // The home knows of another version, or absence, already.
    const lease = this.#held.peek(url);
    if (lease !== undefined && lease.info?.version !== version) return;
    try {
      await this.#lookup.find(ref, { rejected: version }, signal);
    } catch (thrown) {
      const error = CacheError.from(thrown);
      // All other errors are the home's answer, which the next question gets as well, or say that it cannot be asked.
      if (signal.aborted || error.code === "INTERNAL") throw error;
    }
  }

  /**
   * A read is about to fail because the origin has another version than `version`, or none. Resolves when no member answers with the
   * version any more, so that the client learns of the change first. Undefined: the read was of the current version.
   */
  async outdated(ref: ObjectRef, version: string | undefined, signal: AbortSignal): Promise<void> {
    if (version !== undefined) await this.rejected(ref, version, signal);
    await untilAborted(this.changing(ref.url) ?? Promise.resolve(), signal);
  }

  /** As `ObservedVersions.received`. */
  observed(ref: ObjectRef, version: string, signal: AbortSignal): Promise<void> | undefined {
    return this.#observed.received(ref, version, signal);
  }

  /**
   * Has the home of an object, be it this member, ask the origin whether a version is current that it does not know: a client may
   * have learned of an overwrite before the home.
   */
  verify(ref: ObjectRef, version: string, signal: AbortSignal): Promise<void> {
    return this.#observed.claimed(ref, version, signal);
  }

  /**
   * A listing of the origin names these versions. Has the homes of objects that are known in another version ask the origin. Resolves
   * when they have, or soon. Never rejects.
   */
  listed(versions: Iterable<ListedVersion>): Promise<void> {
    return this.#listed.observe(versions);
  }

  /** As `ObjectWrites.report`, for a write of this member. */
  written(ref: ObjectRef, write: ObjectWrite, signal: AbortSignal): Promise<void> {
    return this.#writes.report(ref, write, 0, signal);
  }

  /** The home answered a read with this version. */
  agreed(url: string, version: string): void {
    if (this.#agreed.peek(url) !== version) this.#agreed.set(url, version);
  }

  /** Forgets leases of evicted objects. */
  forget({ url, prefix }: EvictSelector): void {
    if (url !== undefined) this.#drop(url);
    else if (prefix !== undefined) {
      this.#held.dropUnder(prefix);
      this.#shared.voidUnder(prefix);
    }
  }

  /** The member list has changed. A standstill that has just ended comes first: others may have decided in this member's place. */
  update(list: Membership): void {
    if (list === this.#changes.current) return;
    this.#standstill.check();
    this.#takeOvers.update(list);
    this.#watchStandstills(list);
  }

  /** Resolves when nothing is left to take over. */
  tookOver(): Promise<void> {
    return this.#takeOvers.settled();
  }

  /** Other members cannot ask this one any more. It decides about nothing, while its last reads run. */
  shutDown(): void {
    this.#changes.shutDown();
  }

  async close(): Promise<void> {
    this.#standstill.stop();
    this.#held.close();
    this.#closing.abort(new CacheError("CANCELLED", "the member is closing"));
    await Promise.all([this.#takeOvers.closed(), this.#retaining.closed()]);
  }

  /**
   * A member that is alone for good has nobody who decides in its place while it stands still. Another one may have joined that is
   * not in the list yet.
   */
  #watchStandstills({ members }: Membership): void {
    const { peers, mayHaveOthers } = this.#options;
    const hasOthers = members.some(({ name }) => name !== peers.self.name);
    this.#decided.hasOthers = hasOthers;
    if (hasOthers || mayHaveOthers) this.#standstill.start();
    else this.#standstill.stop();
  }

  /** The record, for all reads that share this question. */
  async #findElsewhere(ref: ObjectRef, needs: Needs, budget: RequestBudget): Promise<CurrentRecord> {
    const record = await this.#lookup.find(ref, { needs, budget }, this.#closing.signal);
    const { failedRequests = 0 } = record;
    return { ...record, failedRequests: failedRequests + budget.failures, lostRequests: budget.lost };
  }

  /** The record by a lease, if it suffices. Throws NOT_FOUND if an absence is leased. */
  #leased(ref: ObjectRef, needs: Needs): ObjectInfo | undefined {
    const lease = this.#held.use(ref.url);
    if (lease === undefined) return undefined;
    const info = leasedRecord(ref, lease);
    return lacks(info, needs) ? undefined : info;
  }

  /** Returns whether this member decides about the object, and a listing of this version is no news to it. */
  #isKnown(url: string, version: string): boolean {
    if (this.#lookup.decider(url) !== "here") return false;
    const known = this.#options.local.records.observation(url);
    return known === undefined || known.info?.version === version;
  }

  #drop(url: string): void {
    this.#held.drop(url);
    this.#shared.void(url);
  }

  async #renew(home: MemberInfo, ids: readonly number[]): Promise<Renewal> {
    const { objects } = this.#options.peers.connections;
    const request = { name: this.#options.peers.self.name, ids: [...ids] };
    return this.#call(home.name, (call) => objects.renewLeases(home, request, call));
  }

  /** A call of this member's own. */
  async #call<Result>(subject: string, run: (call: ReturnType<Peers["call"]>) => Promise<Result>): Promise<Result> {
    const call = this.#options.peers.call(subject, this.#closing.signal, CALL_MS);
    try {
      return await run(call);
    } finally {
      call.end();
    }
  }
}
