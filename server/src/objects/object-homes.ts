import { setMaxListeners } from "node:events";
import { Unreachable } from "@frontcache/client/members";
import {
  CacheError,
  type HandedOverRecord,
  type HandOverRequest,
  isSameInfo,
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
import type { Clock } from "../runtime/clock.js";
import type { EvictSelector } from "../storage/storage-report.js";
import { GrantedLeases, LEASE_MS } from "./granted-leases.js";
import { HeldLeases, type Renewal } from "./held-leases.js";
import { HomeChanges, type TakeOver } from "./home-changes.js";
import type { Peers } from "./peers.js";
import { type AnsweredQuestion, type Hints, RecordQuestions } from "./record-questions.js";
import { Standstill } from "./standstill.js";

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
/** How often a home is asked to hand over, and how long a call may take. */
const TAKE_OVER_EVERY_MS = 200;
const CALL_MS = 5_000;
/** A member that answers without confirming for so long has another list for good: a network partition. */
const TAKE_OVER_WITHIN_MS = 60_000;
/** Objects whose version this member and the home agreed on last. */
const AGREED_OBJECTS = 100_000;
/** Records that are looked at, or sent, in one turn of the event loop. */
const RECORDS_AT_ONCE = 500;
/** Bytes of headers in one message: gRPC's messages have at most 4 MiB. */
const HEADER_BYTES_AT_ONCE = 1 << 20;

/** What other members ask this one about objects: the members' calls of the gRPC contract. */
export type ObjectService = Pick<ObjectHomes, "lookUp" | "renew" | "versionChanged" | "handOver">;

/** A question for a record that is on its way to another member. */
interface Asked {
  readonly url: string;
  /** Counts questions and reads: a read may share the answer to a question that was sent after the read began. */
  readonly sequence: number;
  readonly record: Promise<CurrentRecord>;
  /** Its answer may be older than a change that this member was told of: nobody else may use it. */
  isVoid: boolean;
}

/**
 * One truth per object: one member, the object's home, decides which version is current. Other members ask it, and answer by a
 * lease for a short time. Architecture: docs/architecture.md, "One truth per object".
 */
export class ObjectHomes {
  readonly #options: ObjectHomesOptions;
  readonly #self: MemberInfo;
  readonly #clock: Clock;
  readonly #changes: HomeChanges;
  readonly #standstill: Standstill;
  readonly #granted: GrantedLeases;
  readonly #held: HeldLeases;
  readonly #questions: RecordQuestions;
  readonly #asked = new Map<string, Asked>();
  #sequence = 0;
  #hasOthers = false;
  /** Objects with another version than before, until no lease of the old version is left. */
  readonly #changing = new Map<string, Promise<void>>();
  readonly #agreed = new BoundedMap<string, string>(AGREED_OBJECTS);
  readonly #closing = new AbortController();
  readonly #takingOver = new Set<Promise<void>>();

  constructor(options: ObjectHomesOptions) {
    this.#options = options;
    const { peers, clock, membership } = options;
    const { signal } = this.#closing;
    setMaxListeners(0, signal);
    this.#self = peers.self;
    this.#clock = clock;
    this.#changes = new HomeChanges(peers.self, clock, membership);
    this.#standstill = new Standstill(clock, () => this.#reset());
    this.#granted = new GrantedLeases({
      clock,
      epoch: Math.floor(clock.random() * 2 ** 20),
      revoke: (holder, urls) => this.#call(urls[0]!, (call) => peers.connections.objects.versionChanged(holder, urls, call)),
    });
    this.#held = new HeldLeases(clock, (home, ids) => this.#renew(home, ids));
    this.#questions = new RecordQuestions(peers, clock, signal);
    this.#watchStandstills(membership);
    this.#reset();
  }

  /** Leases granted to other members and held of them, and takeovers that are outstanding, for metrics. */
  status(): { leasesGranted: number; leasesHeld: number; takeOvers: number } {
    return {
      leasesGranted: this.#granted.size,
      leasesHeld: this.#held.size,
      takeOvers: this.#changes.outstanding.size,
    };
  }

  /** Whether this member decides which version of an object is current, by itself: what it knows of the object is not doubtful. */
  decides(url: string): boolean {
    this.#standstill.check();
    return this.#changes.decider(url) === "here" && !this.#isDoubtful(url);
  }

  /** Resolves when no lease of an older version of the object is left. Undefined: none is. */
  changing(url: string): Promise<void> | undefined {
    return this.#changing.size === 0 ? undefined : this.#changing.get(url);
  }

  /**
   * The record of an object; at once if this member decides and the record is fresh, or under a lease. Rejects or throws NOT_FOUND
   * if there is no such object, and with the origin's error if it can't be asked and nothing is known.
   */
  current(
    ref: ObjectRef,
    signal: AbortSignal,
    { needs = "version", rejected }: Wanted = ANY,
  ): ObjectInfo | Promise<CurrentRecord> {
    this.#standstill.check();
    const { url } = ref;
    const decider = this.#changes.decider(url);
    if (rejected !== undefined) return this.#find(ref, { needs, rejected }, signal);
    if (decider === "here") {
      const fresh = this.#changing.has(url) ? undefined : this.#options.local.freshness.fresh(url);
      return fresh !== undefined && !lacks(fresh, needs) ? fresh : this.#decide(ref, signal, { needs });
    }
    const lease = this.#held.use(url);
    if (lease === undefined) return this.#share(ref, needs, signal);
    if (lease.info === undefined) return absent(ref, lease.isBucketMissing);
    return lacks(lease.info, needs) ? this.#share(ref, needs, signal) : lease.info;
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

  /** The home answered a read with this version. */
  agreed(url: string, version: string): void {
    if (this.#agreed.peek(url) !== version) this.#agreed.set(url, version);
  }

  /** Forgets leases of evicted objects. */
  forget({ url, prefix }: EvictSelector): void {
    if (url !== undefined) this.#drop(url);
    else if (prefix !== undefined) {
      this.#held.dropUnder(prefix);
      for (const { url: asked } of this.#asked.values()) if (asked.startsWith(prefix)) this.#drop(asked);
    }
  }

  /** A version, or absence, was observed in place of another one, or was rejected. */
  changed(url: string): void {
    const revoked = this.#granted.revoke(url);
    if (revoked === undefined) return;
    const before = this.#changing.get(url);
    const settled = Promise.all([before, revoked]).then(() => {
      if (this.#changing.get(url) === settled) this.#changing.delete(url);
    });
    this.#changing.set(url, settled);
  }

  /** The member list has changed. */
  update(list: Membership): void {
    if (list === this.#changes.current) return;
    for (const takeOver of this.#changes.update(list)) this.#takeOver(takeOver);
    this.#watchStandstills(list);
  }

  /** Resolves when no takeover is outstanding. */
  async tookOver(): Promise<void> {
    while (this.#takingOver.size > 0) await Promise.all(this.#takingOver);
  }

  async close(): Promise<void> {
    this.#standstill.stop();
    this.#held.close();
    this.#closing.abort(new CacheError("CANCELLED", "the member is closing"));
    await Promise.all(this.#takingOver);
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
    const isCurrent = (url: string, info: ObjectInfo | undefined): boolean =>
      this.#changes.decider(url) === "here" && this.#leaseMs(url) === LEASE_MS && this.#isRecord(url, info);
    return { refused: ids.filter((id) => !this.#granted.renew(id, name, isCurrent)), leaseMs: LEASE_MS };
  }

  /** Drops the leases of these objects, and ignores leases in answers to questions that were sent before. */
  versionChanged(urls: readonly string[]): void {
    for (const url of urls) this.#drop(url);
  }

  /**
   * Another member takes over the objects whose home it has become. Resolves to whether this member has stopped deciding about
   * them; `send` gets the records first.
   */
  async handOver({ name, hash }: HandOverRequest, send: (records: HandedOverRecord[]) => Promise<void>): Promise<boolean> {
    this.#standstill.check();
    const { current } = this.#changes;
    if (hash !== current.hash || !this.#changes.mayHandOver) return false;
    const isTheirs = (url: string): boolean => current.owner(url, 0)?.name === name;
    const records: HandedOverRecord[] = [];
    for await (const [url, { info, isBucketMissing = false, askedAtMs }] of inTurns([...this.#options.local.records.entries()])) {
      if (!isTheirs(url) || !this.#changes.decidedFor(name, url) || !Number.isFinite(askedAtMs)) continue;
      const ageMs = Math.max(0, Math.round(this.#clock.monotonicMs() - askedAtMs));
      records.push({ key: url, record: info && recordToMessage(info), bucketMissing: isBucketMissing, ageMs });
    }
    if (hash !== this.#changes.current.hash) return false;
    this.#changes.handedOver(name);
    // It decides from here on. A circuit that is still open would have this member substitute for it.
    const home = current.member(name);
    if (home !== undefined) this.#options.peers.heardOf(home);
    const revoked: (Promise<void> | undefined)[] = [];
    for await (const url of inTurns(this.#granted.urls())) if (isTheirs(url)) revoked.push(this.#granted.revoke(url));
    await Promise.all(revoked);
    for (const batch of batchesOf(records)) await send(batch);
    return true;
  }

  /** A member that is alone has nobody who decides in its place while it stands still. */
  #watchStandstills({ members }: Membership): void {
    this.#hasOthers = members.some(({ name }) => name !== this.#self.name);
    if (this.#hasOthers) this.#standstill.start();
    else this.#standstill.stop();
  }

  /** The record at the member that decides: this one. */
  async #decide(ref: ObjectRef, signal: AbortSignal, decision: Decision = {}): Promise<CurrentRecord> {
    const { local } = this.#options;
    const { url } = ref;
    for (;;) {
      const changing = this.changing(url);
      if (changing !== undefined) await untilAborted(changing, signal);
      try {
        const record = await local.current(
          ref,
          signal,
          this.#isDoubtful(url) ? { notBeforeMs: AFTER_DOUBT, ...decision } : decision,
        );
        if (this.changing(url) === undefined) return record;
      } catch (error) {
        if (CacheError.from(error).code !== "NOT_FOUND" || this.changing(url) === undefined) throw error;
      }
    }
  }

  /** Asks the home, or shares a question that was sent after this read began. */
  async #share(ref: ObjectRef, needs: Needs, signal: AbortSignal): Promise<CurrentRecord> {
    const { url } = ref;
    const key = askedKey(url, needs);
    const began = ++this.#sequence;
    for (;;) {
      const asked = this.#asked.get(key);
      if (asked === undefined) break;
      const record = untilAborted(asked.record, signal);
      if (asked.sequence > began && !asked.isVoid) return record;
      await record.catch(() => {
        if (signal.aborted) throw CacheError.from(signal.reason);
      });
      const lease = this.#held.use(url);
      if (lease === undefined) continue;
      const info = lease.info ?? absent(ref, lease.isBucketMissing);
      if (!lacks(info, needs)) return { info, isStale: false };
    }
    const asked: Asked = {
      url,
      sequence: ++this.#sequence,
      record: this.#find(ref, { needs }, this.#closing.signal, () => asked.isVoid),
      isVoid: false,
    };
    this.#asked.set(key, asked);
    const forget = (): void => {
      if (this.#asked.get(key) === asked) this.#asked.delete(key);
    };
    asked.record.then(forget, forget);
    return untilAborted(asked.record, signal);
  }

  /** The record, from wherever it is decided. If nobody can be asked, the record that this member remembers is used as stale. */
  async #find(ref: ObjectRef, wanted: Wanted, signal: AbortSignal, isVoid?: () => boolean): Promise<CurrentRecord> {
    const { url } = ref;
    const { records } = this.#options.local;
    const { needs, rejected } = wanted;
    if (rejected !== undefined) records.reject(url, rejected);
    const decider = this.#changes.decider(url);
    if (decider === "here") return this.#decide(ref, signal, { needs });
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
    return this.#decide(ref, this.#closing.signal, { needs: wanted.needs, notBeforeMs: this.#clock.monotonicMs() });
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

  /** Bytes of this version exist: a record of another version is not used any more without asking the origin. */
  async #see(ref: ObjectRef, version: string, hops: number, signal: AbortSignal): Promise<void> {
    const { url } = ref;
    const { records } = this.#options.local;
    const decider = this.#changes.decider(url);
    const known = records.observation(url);
    const isOutdated = known !== undefined && known.info?.version !== version;
    if (decider === "here") {
      if (isOutdated) await this.#decide(ref, signal, { notBeforeMs: this.#clock.monotonicMs() });
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
    const record = await this.#decide(ref, signal, {
      needs,
      notBeforeMs: leasesLast ? this.#clock.monotonicMs() : sinceMs,
    }).catch((error: unknown) => {
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
    return { info: info ?? absent(ref, answer.bucketMissing), isStale: answer.stale };
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
      const { record, isHere } = await this.#resolve(ref, wantedOf(question), asked);
      const { url } = ref;
      const leaseMs = isHere && holder !== undefined && !record?.isStale ? this.#leaseMs(url) : 0;
      const info = record?.info;
      const leaseId = leaseMs > 0 && this.#isRecord(url, info) ? this.#granted.grant(url, holder!, info, leaseMs) : 0;
      return RecordAnswer.fromPartial({
        index,
        ...(info !== undefined && { record: recordToMessage(info) }),
        bucketMissing: info === undefined && this.#options.local.records.observation(url)?.isBucketMissing === true,
        stale: record?.isStale === true,
        leaseId,
        leaseMs: leaseId === 0 ? 0 : leaseMs,
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
    const { needs, rejected } = wanted;
    if (rejected !== undefined) this.#options.local.records.reject(url, rejected);
    if (decider === "here") {
      try {
        return { record: await this.#decide(ref, signal, { needs }), isHere: true };
      } catch (error) {
        if (CacheError.from(error).code !== "NOT_FOUND") throw error;
        return { record: undefined, isHere: true };
      }
    }
    if (hops >= MOST_HOPS) {
      return { record: await this.#decide(ref, signal, { needs, notBeforeMs: this.#clock.monotonicMs() }), isHere: false };
    }
    const passOn = async (): Promise<CurrentRecord> => {
      const answered = await this.#ask(this.#reachable(decider, url), url, wanted, hops + 1);
      return answered === undefined ? this.#substitute(decider, ref, needs) : this.#accept(ref, answered, true);
    };
    return { record: await untilAborted(passOn(), signal), isHere: false };
  }

  /**
   * Whether another member may know better: this member stood still, or became the home since it observed the object. Then a read
   * waits for the origin, as long as it takes: the known version may be older than one that was received already.
   */
  #isDoubtful(url: string): boolean {
    return this.#hasOthers && this.#options.local.records.isExpired(url);
  }

  /** Whether this is what is remembered of an object. */
  #isRecord(url: string, info: ObjectInfo | undefined): boolean {
    const observation = this.#options.local.records.observation(url);
    if (observation === undefined || this.changing(url) !== undefined) return false;
    const { info: known } = observation;
    return known === info || (known !== undefined && info !== undefined && isSameInfo(known, info));
  }

  /** How long a lease of the object's record may be. */
  #leaseMs(url: string): number {
    return Math.max(0, Math.min(LEASE_MS, Math.floor(this.#remainingMs(url))));
  }

  /** How long the object's record is fresh. */
  #remainingMs(url: string): number {
    const observation = this.#options.local.records.observation(url);
    if (observation === undefined) return 0;
    const { revalidateAfterMs, negativeTtlMs } = this.#options;
    const ttlMs = observation.info === undefined ? negativeTtlMs : revalidateAfterMs;
    return observation.askedAtMs + ttlMs - this.#clock.monotonicMs();
  }

  #drop(url: string): void {
    this.#held.drop(url);
    for (const needs of ALL_NEEDS) {
      const key = askedKey(url, needs);
      const asked = this.#asked.get(key);
      if (asked === undefined) continue;
      asked.isVoid = true;
      this.#asked.delete(key);
    }
  }

  /** This member has started or stood still: what it knows counts as expired, and others may have decided in its place. */
  #reset(): void {
    this.#options.local.records.expireAll();
    for (const takeOver of this.#changes.reset()) this.#takeOver(takeOver);
  }

  #takeOver(takeOver: TakeOver): void {
    const running = this.#runTakeOver(takeOver).catch(() => {});
    this.#takingOver.add(running);
    void running.finally(() => this.#takingOver.delete(running));
  }

  /** Asks the member that decided before until it confirms, or is gone for so long that none of its leases is valid. */
  async #runTakeOver(takeOver: TakeOver): Promise<void> {
    const { from } = takeOver;
    const { signal } = this.#closing;
    const { records } = this.#options.local;
    const begunMs = this.#clock.monotonicMs();
    const received = new Set<string>();
    let sentAtMs = begunMs;
    // Ages count from when the other member sent them. Counting from before makes no record seem younger than it is.
    const onRecord = ({ key, record, bucketMissing, ageMs }: HandedOverRecord): void => {
      received.add(key);
      const info = record && recordFromMessage(record);
      records.observe(key, { info, isBucketMissing: bucketMissing, askedAtMs: sentAtMs - ageMs });
    };
    while (!signal.aborted && this.#clock.monotonicMs() - begunMs < TAKE_OVER_WITHIN_MS) {
      const request = { name: this.#self.name, hash: this.#changes.current.hash };
      sentAtMs = this.#clock.monotonicMs();
      try {
        const { objects } = this.#options.peers.connections;
        const asking = this.#call(from.name, (call) => objects.handOver(from, request, onRecord, call));
        const isConfirmed = await untilAborted(asking, signal);
        this.#changes.answered(from.name);
        if (isConfirmed) break;
      } catch {
        if (this.#changes.leasesLastMs(this.#changes.isGone(from.name)) === 0) break;
      }
      await sleep(this.#clock, TAKE_OVER_EVERY_MS, signal);
    }
    // What this member knows of these objects may be older than what the other member knew.
    if (takeOver.before !== undefined) {
      for await (const [url] of inTurns([...records.entries()]))
        if (!received.has(url) && takeOver.covers(url)) records.expire(url);
    }
    this.#changes.tookOver(takeOver);
  }

  async #renew(home: MemberInfo, ids: readonly number[]): Promise<Renewal> {
    const { objects } = this.#options.peers.connections;
    return this.#call(home.name, (call) => objects.renewLeases(home, { name: this.#self.name, ids: [...ids] }, call));
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
}

const ANY: Wanted = {};

/** Any answer counts that is not remembered yet. */
const AFTER_DOUBT = -Number.MAX_VALUE;

const ALL_NEEDS: readonly Needs[] = ["version", "metadata", "checksums"];

/** Questions that need more are not shared with those that need less. A URL may contain spaces. */
function askedKey(url: string, needs: Needs): string {
  return needs === "version" ? url : `${needs} ${url}`;
}

interface Decision {
  readonly needs?: Needs | undefined;
  /** What the origin answered to requests before this moment does not count, monotonic milliseconds. */
  readonly notBeforeMs?: number | undefined;
}

function wantedOf({ needs, rejectedVersion }: RecordQuestion): Wanted {
  return {
    needs: needs === "metadata" || needs === "checksums" ? needs : "version",
    ...(rejectedVersion !== "" && { rejected: rejectedVersion }),
  };
}

function absent({ url }: ObjectRef, isBucketMissing: boolean): never {
  throw isBucketMissing ? new NoSuchBucket({ url }) : new CacheError("NOT_FOUND", `${url}: no such object`);
}

/** The items of a long list, a bounded number of them in one turn of the event loop. */
async function* inTurns<Item>(items: readonly Item[]): AsyncGenerator<Item> {
  let count = 0;
  for (const item of items) {
    if (++count % RECORDS_AT_ONCE === 0) await new Promise<void>((resolve) => setImmediate(resolve));
    yield item;
  }
}

/** Records in batches that fit into one message each. */
function* batchesOf(records: readonly HandedOverRecord[]): Generator<HandedOverRecord[]> {
  let batch: HandedOverRecord[] = [];
  let headerBytes = 0;
  for (const each of records) {
    const bytes = each.record?.headers.length ?? 0;
    if (batch.length === RECORDS_AT_ONCE || (batch.length > 0 && headerBytes + bytes > HEADER_BYTES_AT_ONCE)) {
      yield batch;
      [batch, headerBytes] = [[], 0];
    }
    batch.push(each);
    headerBytes += bytes;
  }
  if (batch.length > 0) yield batch;
}
