import { Unreachable } from "@frontcache/client/members";
import { CacheError, type MemberInfo, type ObjectInfo, type ObjectRef, recordFromMessage } from "@frontcache/proto";
import { type Backoff, type BoundedMap, backoffMs, sleep, untilAborted } from "@frontcache/proto/runtime";
import type { CurrentRecord } from "../cache/freshness.js";
import type { LocalCache, Needs } from "../cache/local-cache.js";
import { NoSuchBucket } from "../origin/checked-answer.js";
import { MAX_REQUESTS, type RequestBudget } from "../origin/request-budget.js";
import type { Clock } from "../runtime/clock.js";
import type { DecidedRecords } from "./decided-records.js";
import { LEASE_MS } from "./granted-leases.js";
import type { HeldLeases } from "./held-leases.js";
import type { Decider, HomeChanges } from "./home-changes.js";
import type { Peers } from "./peers.js";
import type { AnsweredQuestion, Hints, RecordQuestions } from "./record-questions.js";
import type { RetainingMembers } from "./retaining-members.js";
import type { Standstill } from "./standstill.js";
import type { Substitution } from "./substitution.js";

/** A question is passed on at most this many times: members with different lists might pass it on in a circle. */
const MOST_HOPS = 2;
/** Hops of a question to each member that may decide, after no member did. It is passed on once more, to those that the member knows of. */
const LAST_HOPS = MOST_HOPS + 1;
/** When, and for how long, a question is repeated while no member decides about its object. Takeovers are faster. */
const UNDECIDED_BACKOFF: Backoff = { firstMs: 20, longestMs: 160, jitter: 0 };
export const UNDECIDED_WITHIN_MS = 1_000;

/** What is requested of a record. */
export interface Wanted {
  /** Absent: version and size. */
  readonly needs?: Needs | undefined;
  /** An origin said that this version is not current. */
  readonly rejected?: string | undefined;
  /** Counts the requests to the origin that this member sends for this caller alone. */
  readonly budget?: RequestBudget | undefined;
}

/** What to do, depending on who decides about an object. */
export interface AtDecider<Result> {
  here(): Promise<Result>;
  /** Asks these members, in this order, by `ask`. `hops`: how many members passed the question on. */
  elsewhere(members: readonly MemberInfo[], hops: number): Promise<Answered | undefined>;
  answered(answer: Answered): Result;
  /** In place of a decider that cannot be reached. */
  inPlaceOf(decider: MemberInfo): Promise<Result>;
  /** No member has decided for long. */
  undecided(): Promise<Result>;
}

export interface Resolved {
  /** Undefined: there is no such object. */
  readonly record: CurrentRecord | undefined;
  /** This member decided, and may grant a lease. */
  readonly isHere: boolean;
}

/** Another member's answer. */
export interface Answered extends AnsweredQuestion {
  readonly member: MemberInfo;
}

/** No member decides about the object at the moment, because its home is changing. */
export class Undecided extends CacheError {
  constructor(url: string) {
    super("UNAVAILABLE", `${url}: the object's home is changing, try again`);
  }
}

/** The record cannot be read, and a write may have replaced the one that is known: it is not used as stale. */
class Replaced extends CacheError {}

export interface RecordLookupOptions {
  readonly peers: Peers;
  readonly changes: HomeChanges;
  readonly standstill: Pick<Standstill, "check">;
  readonly decided: DecidedRecords;
  readonly held: HeldLeases;
  readonly questions: RecordQuestions;
  readonly retaining: RetainingMembers;
  readonly substitution: Substitution;
  /** By URL: the version that this member and the home agreed on last. */
  readonly agreed: BoundedMap<string, string>;
  readonly records: LocalCache["records"];
  readonly clock: Pick<Clock, "monotonicMs" | "after">;
  /** Whether a record may be used that nobody could confirm. */
  readonly staleIfError: boolean;
  /** Aborted when the member closes. */
  readonly signal: AbortSignal;
}

/** Finds the record of an object at the member that decides about the object. */
export class RecordLookup {
  readonly #options: RecordLookupOptions;

  constructor(options: RecordLookupOptions) {
    this.#options = options;
  }

  /** Who decides about an object. A standstill of this member that has just ended counts. */
  decider(url: string): Decider {
    this.#options.standstill.check();
    return this.#options.changes.decider(url);
  }

  /**
   * The record, from wherever it is decided. If neither the home nor the origin can be asked, the record that this member remembers is
   * used as stale. Rejects with NOT_FOUND if there is no such object.
   */
  async find(ref: ObjectRef, wanted: Wanted, signal: AbortSignal): Promise<CurrentRecord> {
    const { records, decided, staleIfError } = this.#options;
    try {
      const { record } = await this.resolve(ref, wanted, 0, signal);
      return record ?? absent(ref, records.observation(ref.url)?.isBucketMissing === true);
    } catch (error) {
      const mayBeStale = staleIfError && !(error instanceof Replaced) && !decided.writing.has(ref.url);
      const last = mayBeStale && CacheError.from(error).retryable ? records.last(ref.url) : undefined;
      if (last === undefined || signal.aborted) throw error;
      // The origin was asked as often as one read may ask it, by whoever decides.
      return { info: last, isStale: true, ...(CacheError.from(error).isOriginTried && { failedRequests: MAX_REQUESTS }) };
    }
  }

  /**
   * The record, for this member or for another one that asks. `hops`: how many members passed the question on. Rejects with NOT_FOUND
   * if another member said that there is no such object.
   */
  async resolve(ref: ObjectRef, { needs, rejected, budget }: Wanted, hops: number, signal: AbortSignal): Promise<Resolved> {
    const { url } = ref;
    const { decided, records, substitution } = this.#options;
    if (rejected !== undefined) records.reject(url, rejected);
    let isAgain = false;
    return this.atDecider<Resolved>(url, hops, signal, {
      here: async () => {
        // The answer did not count, because another member decided when it came.
        if (isAgain) budget?.count();
        isAgain = true;
        return { record: await decided.current(ref, signal, { needs, budget }), isHere: true };
      },
      elsewhere: (members, asked) => this.ask(members, url, { needs, rejected }, asked, budget),
      answered: (answer) => ({ record: this.#accept(ref, answer), isHere: false }),
      inPlaceOf: async (decider) => ({ record: await substitution.record(decider, ref, { needs, budget }), isHere: false }),
      undecided: async () => ({ record: await substitution.undecidedRecord(ref, { needs, budget }), isHere: false }),
    });
  }

  /**
   * Does something at the member that decides about an object; again if another member decides when it is done:
   * 1. This member, P, decides about an object, and asks the origin.
   * 2. Another member, M, joins and takes over. P confirms, and M decides.
   * 3. The origin answers P. M may have handed out a later version meanwhile: M is asked.
   *
   * If no member decides for long, this one acts by itself, and then asks each member that may decide:
   * 1. No member decides that is asked. This member observes v2.
   * 2. Member M decides, perhaps all the time, because another member has an older list. It leases v1.
   * 3. M answers: v2 is not handed out before M knows it.
   * A member that does not decide in 3 asks the origin before it decides later, whatever is handed over to it.
   */
  async atDecider<Result>(url: string, hops: number, signal: AbortSignal, at: AtDecider<Result>): Promise<Result> {
    const { clock, changes, retaining } = this.#options;
    const begunMs = clock.monotonicMs();
    let own: { readonly result: Result } | undefined;
    for (let undecided = 1; ; ) {
      const decider = this.decider(url);
      if (decider === "here") {
        const result = await at.here();
        if (this.decider(url) === "here") return result;
        continue;
      }
      if (own !== undefined) return this.#confirmed(url, own.result, at, signal);
      try {
        if (hops > LAST_HOPS) return at.answered(await this.#lastAnswer(url, at, hops, signal));
        if (hops > MOST_HOPS) throw new Undecided(url);
        const answer = await untilAborted(at.elsewhere(this.#membersToAsk(decider, url, hops), hops), signal);
        if (answer !== undefined) return at.answered(answer);
        if (!this.#isDecider(decider, url)) continue;
        const substitutes = changes.notConfirmed(url).filter(({ name }) => name !== decider.name);
        if (substitutes.length > 0) return at.answered(await this.#firstDecided(url, substitutes, at, hops, signal));
        const isHome = changes.current.owner(url, 0)?.name === decider.name;
        const others = isHome ? await untilAborted(retaining.of(decider), signal) : [];
        // Each of them answers only if it decides.
        if (others.length > 0) return at.answered(await this.#firstDecided(url, others, at, MOST_HOPS, signal));
        if (!this.#isDecider(decider, url)) continue;
        const result = await untilAborted(at.inPlaceOf(decider), signal);
        if (this.#isDecider(decider, url)) return result;
        continue;
      } catch (error) {
        if (!(error instanceof Undecided) || hops > 0) throw error;
      }
      if (clock.monotonicMs() - begunMs >= UNDECIDED_WITHIN_MS) {
        own = { result: await untilAborted(at.undecided(), signal) };
        continue;
      }
      await sleep(
        clock,
        backoffMs(UNDECIDED_BACKOFF, undecided++, () => 0.5),
        signal,
      );
    }
  }

  /**
   * The answer of the first of these members that can be reached. Undefined: none of them can, or none answers to this member. Rejects
   * with Undecided if no member decides. A member that is lost after it was asked may have sent all the requests to the origin that it was allowed.
   */
  async ask(
    members: readonly MemberInfo[],
    url: string,
    hints: Hints,
    hops: number,
    budget?: RequestBudget,
  ): Promise<Answered | undefined> {
    if (members.length === 0) return undefined;
    const { peers, questions, changes, signal } = this.#options;
    const call = peers.call(url, signal);
    let asked = members[0]!;
    try {
      const askOne = async (member: MemberInfo): Promise<Answered> => {
        asked = member;
        // One is left for this member if none is kept, because it asks the origin itself if that member is lost.
        const originRequests = budget && Math.max(1, budget.kept > 0 ? budget.left : budget.left - 1);
        const asking = questions.ask(member, url, { ...hints, originRequests }, hops);
        const answered = await asking.catch((error: unknown) => {
          if (originRequests !== undefined && error instanceof Unreachable && error.wasSent) budget?.countLost(originRequests);
          throw error;
        });
        changes.answered(member.name);
        return { ...answered, member };
      };
      const answered = await peers.first(members, askOne, call);
      if (answered.answer.undecided) throw new Undecided(url);
      return answered;
    } catch (error) {
      if (signal.aborted) throw error;
      if (error instanceof Unreachable) return undefined;
      if (CacheError.from(error).code !== "PERMISSION_DENIED") throw error;
      // A member that does not know this one as a member, because it starts, or has another list or key, decides nothing for it.
      return this.ask(members.slice(members.indexOf(asked) + 1), url, hints, hops, budget);
    } finally {
      call.end();
    }
  }

  /**
   * The answer of the first of these members that decides. Rejects with Undecided if none does:
   * 1. The home of u, H, shuts down. The next member, N, stands still, and does not hear of it.
   * 2. M becomes the home of u by the new list, or substitutes for N, which is.
   * 3. N resumes, cannot reach H, and would decide in its place.
   */
  async #firstDecided<Result>(
    url: string,
    members: readonly MemberInfo[],
    at: AtDecider<Result>,
    hops: number,
    signal: AbortSignal,
  ): Promise<Answered> {
    for (const member of members) {
      try {
        const answer = await untilAborted(at.elsewhere([member], hops), signal);
        if (answer !== undefined) return answer;
      } catch (error) {
        if (!(error instanceof Undecided)) throw error;
      }
    }
    throw new Undecided(url);
  }

  /** The answer to another member that asks all that may decide. This one asks the origin before it decides, whatever is handed over to it. */
  #lastAnswer<Result>(url: string, at: AtDecider<Result>, hops: number, signal: AbortSignal): Promise<Answered> {
    const { records, changes } = this.#options;
    records.expire(url);
    return this.#firstDecided(url, hops === LAST_HOPS + 1 ? changes.notConfirmed(url) : [], at, hops, signal);
  }

  /** A result of this member's own, unless another member that may decide does decide. */
  async #confirmed<Result>(url: string, own: Result, at: AtDecider<Result>, signal: AbortSignal): Promise<Result> {
    let unreachable: MemberInfo | undefined;
    for (const member of this.#options.changes.mayDecide(url)) {
      try {
        const answer = await untilAborted(at.elsewhere([member], LAST_HOPS), signal);
        if (answer !== undefined) return at.answered(answer);
        unreachable = member;
      } catch (error) {
        if (!(error instanceof Undecided)) throw error;
      }
    }
    return unreachable === undefined ? own : untilAborted(at.inPlaceOf(unreachable), signal);
  }

  #isDecider({ name }: MemberInfo, url: string): boolean {
    const decider = this.decider(url);
    return decider !== "here" && decider.name === name;
  }

  /**
   * Whom to ask: the home and the members that may substitute for it, or the member that has not handed over yet. A question that was
   * passed on is passed on to the one that decides, and to no substitute.
   */
  #membersToAsk(decider: MemberInfo, url: string, hops: number): readonly MemberInfo[] {
    const { changes, peers } = this.#options;
    const isHome = changes.current.owner(url, 0)?.name === decider.name;
    const members = isHome ? peers.route(url, 0, false).others : [decider];
    return hops === 0 ? members : members.filter(({ name }) => name === decider.name);
  }

  /** Takes over what an answer says. */
  #accept(ref: ObjectRef, { answer, sentAtMs, member: home }: Answered): CurrentRecord {
    const { url } = ref;
    const { agreed, held } = this.#options;
    if (answer.errorCode !== "") {
      if (answer.errorCode === "NOT_FOUND" && answer.bucketMissing) throw new NoSuchBucket(ref);
      const Failure = answer.replaced ? Replaced : CacheError;
      throw new Failure(answer.errorCode as CacheError["code"], answer.error, { isOriginTried: answer.tried });
    }
    const info = answer.record && recordFromMessage(answer.record);
    if (info !== undefined) agreed.set(url, info.version);
    if (answer.leaseMs > 0) {
      const lease = { id: answer.leaseId, info, isBucketMissing: answer.bucketMissing, home };
      held.add(url, lease, sentAtMs, Math.min(answer.leaseMs, LEASE_MS));
    }
    const { stale: isStale, failedRequests } = answer;
    return { info: info ?? absent(ref, answer.bucketMissing), isStale, failedRequests };
  }
}

/** Throws that there is no such object. */
export function absent({ url }: ObjectRef, isBucketMissing: boolean): never {
  throw isBucketMissing ? new NoSuchBucket({ url }) : new CacheError("NOT_FOUND", `${url}: no such object`);
}

/** The record that a lease names. Throws NOT_FOUND if an absence is leased. */
export function leasedRecord(ref: ObjectRef, lease: { info: ObjectInfo | undefined; isBucketMissing: boolean }): ObjectInfo {
  return lease.info ?? absent(ref, lease.isBucketMissing);
}
