import { setMaxListeners } from "node:events";
import { Unreachable } from "@frontcache/client/members";
import {
  CacheError,
  type HandedOverRecord,
  type HandOverRequest,
  type LookUpRecordsRequest,
  type MemberInfo,
  type Membership,
  type ObjectInfo,
  type ObjectRef,
  parseObjectUrl,
  RecordAnswer,
  type RecordQuestion,
  type RenewLeasesRequest,
  type RenewLeasesResponse,
  recordFromMessage,
  recordToMessage,
} from "@frontcache/proto";
import { BoundedMap, sleep, untilAborted } from "@frontcache/proto/runtime";
import type { CurrentRecord } from "../cache/freshness.js";
import { type LocalCache, lacks, type Needs } from "../cache/local-cache.js";
import { NoSuchBucket } from "../origin/checked-answer.js";
import { type RequestBudget, requestBudget } from "../origin/request-budget.js";
import type { Clock } from "../runtime/clock.js";
import type { EvictSelector } from "../storage/storage-report.js";
import { DecidedRecords } from "./decided-records.js";
import { LEASE_MS } from "./granted-leases.js";
import { HeldLeases, type Renewal } from "./held-leases.js";
import { HomeChanges } from "./home-changes.js";
import { type ListedVersion, ListedVersions } from "./listed-versions.js";
import type { Peers } from "./peers.js";
import { type AnsweredQuestion, type Hints, RecordQuestions } from "./record-questions.js";
import { SharedQuestions } from "./shared-questions.js";
import { Standstill } from "./standstill.js";
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
}

/** Questions are passed on so many times at most: members whose lists differ never pass them on in a circle. */
const MOST_HOPS = 2;
/** How long a renewal or a revocation of leases may take. */
const CALL_MS = 5_000;
/** Objects whose version this member and the home agreed on last. */
const AGREED_OBJECTS = 100_000;

/** What other members ask this one about objects: the members' calls of the gRPC contract. */
export type ObjectService = Pick<ObjectHomes, "lookUp" | "renew" | "versionChanged" | "handOver">;

/**
 * One truth per object: one member, the object's home, decides which version is current. Other members ask it, and answer by a
 * lease for a short time. Architecture: docs/architecture.md, "One truth per object".
 */
export class ObjectHomes {
  readonly #options: ObjectHomesOptions;
  readonly #clock: Clock;
  /** Who decides. */
  readonly #changes: HomeChanges;
  readonly #takeOvers: TakeOvers;
  readonly #standstill: Standstill;
  /** What this member decides. */
  readonly #decided: DecidedRecords;
  /** What others decided, and leased to this member. */
  readonly #held: HeldLeases;
  readonly #questions: RecordQuestions;
  readonly #shared = new SharedQuestions();
  readonly #listed: ListedVersions;
  readonly #agreed = new BoundedMap<string, string>(AGREED_OBJECTS);
  readonly #closing = new AbortController();

  constructor(options: ObjectHomesOptions) {
    this.#options = options;
    const { peers, clock, membership, local } = options;
    const { signal } = this.#closing;
    setMaxListeners(0, signal);
    this.#clock = clock;
    this.#changes = new HomeChanges(peers.self, clock, membership);
    this.#decided = new DecidedRecords({
      ...options,
      leases: {
        epoch: Math.floor(clock.random() * 2 ** 20),
        revoke: (holder, urls) => this.#call(urls[0]!, (call) => peers.connections.objects.versionChanged(holder, urls, call)),
      },
    });
    this.#held = new HeldLeases(clock, (home, ids) => this.#renew(home, ids));
    this.#questions = new RecordQuestions(peers, clock, signal);
    const { records } = local;
    this.#takeOvers = new TakeOvers({ peers, changes: this.#changes, decided: this.#decided, records, clock, signal });
    this.#listed = new ListedVersions({
      clock,
      isKnown: (url, version) => this.#isKnown(url, version),
      report: ({ ref, version }) => this.#see(ref, version, 0, signal),
    });
    this.#standstill = new Standstill(clock, () => this.#takeOvers.reset());
    this.#watchStandstills(membership);
    this.#takeOvers.reset();
  }

  /** Leases granted to other members and held of them, and takeovers that are outstanding, for metrics. */
  status(): { leasesGranted: number; leasesHeld: number; takeOvers: number } {
    return {
      leasesGranted: this.#decided.leases,
      leasesHeld: this.#held.size,
      takeOvers: this.#changes.outstanding.size,
    };
  }

  /** Whether this member decides which version of an object is current, by itself: what it knows of the object is not doubtful. */
  decides(url: string): boolean {
    this.#standstill.check();
    return this.#changes.decider(url) === "here" && !this.#decided.isDoubtful(url);
  }

  /** Resolves when no lease of an older version of the object is left. Undefined: none is. */
  changing(url: string): Promise<void> | undefined {
    return this.#decided.changing(url);
  }

  /** A version, or absence, was observed in place of another one, or was rejected. */
  changed(url: string): void {
    this.#decided.changed(url);
  }

  /** The record of an object, if this member decides and the record is fresh, or under a lease. Throws NOT_FOUND for an absence. */
  known(ref: ObjectRef, needs: Needs = "version"): ObjectInfo | undefined {
    this.#standstill.check();
    return this.#changes.decider(ref.url) === "here" ? this.#decided.fresh(ref.url, needs) : this.#leased(ref, needs);
  }

  /**
   * The record of an object; at once if this member decides and the record is fresh, or under a lease. Rejects or throws NOT_FOUND
   * if there is no such object, and with the origin's error if it can't be asked and nothing is known.
   */
  current(
    ref: ObjectRef,
    signal: AbortSignal,
    { needs = "version", rejected, budget }: Wanted = ANY,
  ): ObjectInfo | Promise<CurrentRecord> {
    this.#standstill.check();
    const { url } = ref;
    if (rejected !== undefined) return this.#find(ref, { needs, rejected, budget }, signal);
    const known = this.known(ref, needs);
    if (known !== undefined) return known;
    if (this.#changes.decider(url) === "here") return this.#decided.current(ref, signal, { needs, budget });
    const ask = (isVoid: () => boolean): Promise<CurrentRecord> => this.#find(ref, { needs }, this.#closing.signal, isVoid);
    const leasedMeanwhile = (): CurrentRecord | undefined => {
      const info = this.#leased(ref, needs);
      return info && { info, isStale: false };
    };
    return this.#shared.share({ url, needs }, ask, leasedMeanwhile, signal);
  }

  /**
   * The origin rejected a version, in a request for bytes of this object. Resolves when the home knows. Never rejects: the next
   * question decides.
   */
  async rejected(ref: ObjectRef, version: string, signal: AbortSignal): Promise<void> {
    const { url } = ref;
    if (this.#changes.decider(url) === "here") {
      this.#options.local.records.reject(url, version);
      return;
    }
    const agreed = this.#held.use(url)?.info?.version ?? this.#agreed.peek(url);
    if (agreed !== undefined && agreed !== version) return;
    await this.#find(ref, { rejected: version }, signal).catch(() => {});
  }

  /**
   * Bytes of a version were received that the home may not know of. Resolves when no member answers with an older version any more.
   * Undefined: the home knows. Never rejects.
   */
  seen(ref: ObjectRef, version: string, signal: AbortSignal): Promise<void> | undefined {
    const { url } = ref;
    if (this.#agreed.peek(url) === version || this.#changes.decider(url) === "here") return undefined;
    return this.#see(ref, version, 0, signal).then(
      () => void this.#agreed.set(url, version),
      () => {},
    );
  }

  /**
   * Has the home of an object, be it this member, ask the origin whether a version is current that it does not know: a client may
   * have learned of an overwrite before the home. Never rejects.
   */
  async verify(ref: ObjectRef, version: string, signal: AbortSignal): Promise<void> {
    await this.#see(ref, version, 0, signal).catch(() => {});
  }

  /**
   * A listing of the origin names these versions. Has the homes of objects that are known in another version ask the origin. Resolves
   * when they have, or soon. Never rejects.
   */
  listed(versions: Iterable<ListedVersion>): Promise<void> {
    return this.#listed.observe(versions);
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

  /** The member list has changed. */
  update(list: Membership): void {
    if (list === this.#changes.current) return;
    this.#takeOvers.update(list);
    this.#watchStandstills(list);
  }

  /** Resolves when nothing is left to take over. */
  tookOver(): Promise<void> {
    return this.#takeOvers.settled();
  }

  async close(): Promise<void> {
    this.#standstill.stop();
    this.#held.close();
    this.#closing.abort(new CacheError("CANCELLED", "the member is closing"));
    await this.#takeOvers.settled();
  }

  /** Answers another member's questions. Each answer is reported as soon as it is known. */
  async lookUp(request: LookUpRecordsRequest, report: (answers: RecordAnswer[]) => void, signal: AbortSignal): Promise<void> {
    const { name, hops, questions } = request;
    const holder = this.#changes.current.member(name);
    await Promise.all(
      questions.map(async (question, index) => {
        report([await this.#answer(question, { index, hops, holder, signal })]);
      }),
    );
  }

  /** Renews leases that this member granted. */
  renew({ name, ids }: RenewLeasesRequest): RenewLeasesResponse {
    this.#standstill.check();
    const decides = (url: string): boolean => this.#changes.decider(url) === "here";
    return { refused: ids.filter((id) => !this.#decided.renew(id, name, decides)), leaseMs: LEASE_MS };
  }

  /** Drops the leases of these objects, and ignores leases in answers to questions that were sent before. */
  versionChanged(urls: readonly string[]): void {
    for (const url of urls) this.#drop(url);
  }

  /** As `TakeOvers.handOver`. */
  handOver(request: HandOverRequest, send: (records: HandedOverRecord[]) => Promise<void>): Promise<boolean> {
    this.#standstill.check();
    return this.#takeOvers.handOver(request, send);
  }

  /** A member that is alone has nobody who decides in its place while it stands still. */
  #watchStandstills({ members }: Membership): void {
    const hasOthers = members.some(({ name }) => name !== this.#options.peers.self.name);
    this.#decided.hasOthers = hasOthers;
    if (hasOthers) this.#standstill.start();
    else this.#standstill.stop();
  }

  /** The record by a lease, if it suffices. Throws NOT_FOUND if an absence is leased. */
  #leased(ref: ObjectRef, needs: Needs): ObjectInfo | undefined {
    const lease = this.#held.use(ref.url);
    if (lease === undefined) return undefined;
    const info = lease.info ?? absent(ref, lease.isBucketMissing);
    return lacks(info, needs) ? undefined : info;
  }

  /** The record, from wherever it is decided. If nobody can be asked, the record that this member remembers is used as stale. */
  async #find(ref: ObjectRef, wanted: Wanted, signal: AbortSignal, isVoid?: () => boolean): Promise<CurrentRecord> {
    const { url } = ref;
    const { records } = this.#options.local;
    const { needs, rejected, budget } = wanted;
    if (rejected !== undefined) records.reject(url, rejected);
    const decider = this.#changes.decider(url);
    if (decider === "here") return this.#decided.current(ref, signal, { needs, budget });
    try {
      return await untilAborted(this.#findElsewhere(decider, ref, wanted, isVoid), signal);
    } catch (error) {
      const last = this.#options.staleIfError && CacheError.from(error).retryable ? records.last(url) : undefined;
      if (last === undefined || signal.aborted) throw error;
      return { info: last, isStale: true };
    }
  }

  async #findElsewhere(decider: MemberInfo, ref: ObjectRef, wanted: Wanted, isVoid?: () => boolean): Promise<CurrentRecord> {
    const { others, thenHere } = this.#routeTo(decider, ref.url);
    const answered = await this.#ask(others, ref.url, wanted, 0);
    if (answered !== undefined) return this.#accept(ref, answered, isVoid?.() === true);
    // Neither the home nor the next member on the ring can be reached: no record of this member counts.
    if (thenHere) return this.#substitute(decider, ref, wanted.needs);
    return this.#decided.current(ref, this.#closing.signal, { needs: wanted.needs, notBeforeMs: this.#clock.monotonicMs() });
  }

  /** The members to ask in this order: the home and who substitutes for it, or the member that has not handed over yet. */
  #routeTo(decider: MemberInfo, url: string): ReturnType<Peers["route"]> {
    const isHome = this.#changes.current.owner(url, 0)?.name === decider.name;
    return isHome ? this.#options.peers.route(url, 0, false) : { others: [decider], thenHere: true };
  }

  /** The answer of the first of these members that can be reached. Undefined: none of them can, or will answer to this member. */
  async #ask(members: readonly MemberInfo[], url: string, hints: Hints, hops: number): Promise<Answered | undefined> {
    if (members.length === 0) return undefined;
    const { peers } = this.#options;
    const call = peers.call(url, this.#closing.signal);
    try {
      const ask = async (member: MemberInfo): Promise<Answered> => {
        const answered = await this.#questions.ask(member, url, hints, hops);
        this.#changes.answered(member.name);
        return { ...answered, member };
      };
      return await peers.first(members, ask, call);
    } catch (error) {
      // A member that does not know this one as a member, because it has another list or key, decides nothing for it.
      const isUnanswered = error instanceof Unreachable || CacheError.from(error).code === "PERMISSION_DENIED";
      if (!isUnanswered || this.#closing.signal.aborted) throw error;
      return undefined;
    } finally {
      call.end();
    }
  }

  /** Whether this member decides about the object, and a listing of this version is no news to it. */
  #isKnown(url: string, version: string): boolean {
    if (this.#changes.decider(url) !== "here") return false;
    const known = this.#options.local.records.observation(url);
    return known === undefined || known.info?.version === version;
  }

  /** Bytes of this version exist: a record of another version is not used any more without asking the origin. */
  async #see(ref: ObjectRef, version: string, hops: number, signal: AbortSignal): Promise<void> {
    const { url } = ref;
    const { records } = this.#options.local;
    const decider = this.#changes.decider(url);
    const known = records.observation(url);
    const isOutdated = known !== undefined && known.info?.version !== version;
    if (decider === "here") {
      if (isOutdated) await this.#decided.current(ref, signal, { notBeforeMs: this.#clock.monotonicMs() });
      return;
    }
    // This member may become the one that decides.
    if (isOutdated) records.expire(url);
    if (hops >= MOST_HOPS) return;
    const members = hops === 0 ? this.#routeTo(decider, url).others : this.#reachable(decider, url);
    await untilAborted(this.#ask(members, url, { seen: version }, hops), signal);
  }

  /** The decider, unless it is the home and the circuit to it is open. */
  #reachable(decider: MemberInfo, url: string): readonly MemberInfo[] {
    return this.#routeTo(decider, url).others.filter(({ name }) => name === decider.name);
  }

  /**
   * Decides in place of a member that is gone. Its leases may be valid for a while: until then the origin is asked for each read,
   * and an answer other than what is known here waits until no lease can be left.
   */
  async #substitute(gone: MemberInfo, ref: ObjectRef, needs: Needs | undefined): Promise<CurrentRecord> {
    const { url } = ref;
    const { signal } = this.#closing;
    const sinceMs = this.#changes.isGone(gone.name);
    const known = this.#agreed.peek(url) ?? this.#options.local.records.last(url)?.version;
    const leasesLast = this.#changes.leasesLastMs(sinceMs) > 0;
    const record = await this.#decided
      .current(ref, signal, {
        needs,
        notBeforeMs: leasesLast ? this.#clock.monotonicMs() : sinceMs,
      })
      .catch((error: unknown) => {
        const failure = CacheError.from(error);
        if (failure.code === "NOT_FOUND") return failure;
        throw failure;
      });
    const isKnown = !(record instanceof CacheError) && record.info.version === known;
    const waitMs = isKnown ? 0 : this.#changes.leasesLastMs(sinceMs);
    if (waitMs > 0) await sleep(this.#clock, waitMs, signal);
    if (record instanceof CacheError) throw record;
    this.agreed(url, record.info.version);
    return record;
  }

  /** Takes over what an answer says. */
  #accept(ref: ObjectRef, { answer, sentAtMs, member: home }: Answered, isVoid: boolean): CurrentRecord {
    const { url } = ref;
    if (answer.errorCode !== "") {
      throw answer.errorCode === "NOT_FOUND" && answer.bucketMissing
        ? new NoSuchBucket(ref)
        : new CacheError(answer.errorCode as CacheError["code"], answer.error, { isOriginTried: answer.tried });
    }
    const info = answer.record && recordFromMessage(answer.record);
    if (info !== undefined) this.#agreed.set(url, info.version);
    if (answer.leaseMs > 0 && !isVoid) {
      const lease = { id: answer.leaseId, info, isBucketMissing: answer.bucketMissing, home };
      this.#held.add(url, lease, sentAtMs, Math.min(answer.leaseMs, LEASE_MS));
    }
    const { stale: isStale, failedRequests } = answer;
    return { info: info ?? absent(ref, answer.bucketMissing), isStale, failedRequests };
  }

  /** Answers one question of another member. Never rejects. */
  async #answer(question: RecordQuestion, asked: QuestionContext): Promise<RecordAnswer> {
    const { index, holder } = asked;
    try {
      const ref = parseObjectUrl(question.key);
      const { seenVersion } = question;
      if (seenVersion !== "") {
        await this.#see(ref, seenVersion, asked.hops + 1, asked.signal);
        return RecordAnswer.fromPartial({ index });
      }
      const budget = requestBudget(undefined);
      const { record, isHere } = await this.#resolve(ref, { ...wantedOf(question), budget }, asked);
      const { url } = ref;
      const info = record?.info;
      const mayLease = isHere && holder !== undefined && record?.isStale !== true;
      const lease = mayLease ? this.#decided.lease(url, holder, info) : undefined;
      return RecordAnswer.fromPartial({
        index,
        ...(info !== undefined && { record: recordToMessage(info) }),
        bucketMissing: info === undefined && this.#options.local.records.observation(url)?.isBucketMissing === true,
        stale: record?.isStale === true,
        leaseId: lease?.id ?? 0,
        leaseMs: lease?.forMs ?? 0,
        failedRequests: budget.failures + (record?.failedRequests ?? 0),
      });
    } catch (error) {
      const { code: errorCode, message, isOriginTried: tried } = CacheError.from(error);
      const bucketMissing = error instanceof NoSuchBucket;
      return RecordAnswer.fromPartial({ index, errorCode, error: message, tried, bucketMissing });
    }
  }

  /** The record for another member, by this member or by the one that decides. */
  async #resolve(ref: ObjectRef, wanted: Wanted, { hops, signal }: QuestionContext): Promise<Resolved> {
    this.#standstill.check();
    const { url } = ref;
    const decider = this.#changes.decider(url);
    const { needs, rejected, budget } = wanted;
    if (rejected !== undefined) this.#options.local.records.reject(url, rejected);
    if (decider === "here") {
      try {
        return { record: await this.#decided.current(ref, signal, { needs, budget }), isHere: true };
      } catch (error) {
        if (CacheError.from(error).code !== "NOT_FOUND") throw error;
        return { record: undefined, isHere: true };
      }
    }
    if (hops >= MOST_HOPS) {
      return {
        record: await this.#decided.current(ref, signal, { needs, budget, notBeforeMs: this.#clock.monotonicMs() }),
        isHere: false,
      };
    }
    const passOn = async (): Promise<CurrentRecord> => {
      const answered = await this.#ask(this.#reachable(decider, url), url, wanted, hops + 1);
      return answered === undefined ? this.#substitute(decider, ref, needs) : this.#accept(ref, answered, true);
    };
    return { record: await untilAborted(passOn(), signal), isHere: false };
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

interface QuestionContext {
  readonly index: number;
  readonly hops: number;
  /** Who gets the lease. Undefined: the asking member is not in the list. */
  readonly holder: MemberInfo | undefined;
  readonly signal: AbortSignal;
}

interface Resolved {
  /** Undefined: there is no such object. */
  readonly record: CurrentRecord | undefined;
  /** This member decided, and may grant a lease. */
  readonly isHere: boolean;
}

/** Another member's answer. */
interface Answered extends AnsweredQuestion {
  readonly member: MemberInfo;
}

/** What is asked for in a record. */
interface Wanted {
  /** Absent: version and size. */
  readonly needs?: Needs | undefined;
  /** An origin said that this version is not current. */
  readonly rejected?: string | undefined;
  /** Counts the requests to the origin that this member sends for this caller alone. */
  readonly budget?: RequestBudget | undefined;
}

const ANY: Wanted = {};

function wantedOf({ needs, rejectedVersion }: RecordQuestion): Wanted {
  return {
    needs: needs === "metadata" || needs === "checksums" ? needs : "version",
    ...(rejectedVersion !== "" && { rejected: rejectedVersion }),
  };
}

function absent({ url }: ObjectRef, isBucketMissing: boolean): never {
  throw isBucketMissing ? new NoSuchBucket({ url }) : new CacheError("NOT_FOUND", `${url}: no such object`);
}
