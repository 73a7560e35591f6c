import type { MemberInfo, Membership } from "@frontcache/proto";
import type { Clock } from "../runtime/clock.js";
import { LEASE_MS } from "./granted-leases.js";

/** How long after a standstill a member may hear of members that joined before its end. */
const LIST_LAG_MS = 10_000;
/** Members that may decide about one object, at most: with so many, most are asked to hand over because this member has started. */
const MOST_DECIDERS = 16;

/** Objects whose home this member has become, or became again, and whose decider before has not confirmed yet. */
export interface TakeOver {
  readonly from: MemberInfo;
  /** Whether the member before decided about the object. */
  covers(url: string): boolean;
  /** The list in which that member was the home. Undefined: it substituted for this member, or it may have. */
  readonly before: Membership | undefined;
}

/** Returns whether this member decided about an object. */
type Retained = (url: string) => boolean;

/** Where it is decided which version of an object is current. */
export type Decider =
  /** This member decides. */
  | "here"
  /** Another member decides: the home, or the one that has not handed the object over yet. */
  | MemberInfo;

/**
 * Who decides about an object while homes change. A home that is new, or that was away, decides only after the member that decided
 * before has confirmed that it stopped. Until then that member is asked.
 *
 * A member M joins, u is an object whose home it becomes, and P was the home before:
 * 1. M hears of the list with itself. It asks P about u, and asks P to hand over.
 * 2. P has not heard of the list: it does not confirm, and answers about u, as it does for everybody.
 * 3. P hears of the list. It still decides about u (`retained`), since M has not taken over.
 * 4. M asks again. P ends its leases, forgets that it decides, hands over its records and confirms.
 * 5. M decides.
 */
export class HomeChanges {
  readonly #self: MemberInfo;
  readonly #clock: Pick<Clock, "monotonicMs">;
  readonly #takeOvers = new Set<TakeOver>();
  /**
   * Members that became the homes of objects of this one and have not taken over; by name, with the objects about which this member
   * decided until then.
   */
  readonly #retained = new Map<string, Retained>();
  /** Members that do not answer, since when. By name. */
  readonly #gone = new Map<string, number>();
  #stoodStillAtMs = Number.NEGATIVE_INFINITY;
  #isShuttingDown = false;
  #current: Membership;

  constructor(self: MemberInfo, clock: Pick<Clock, "monotonicMs">, current: Membership) {
    this.#self = self;
    this.#clock = clock;
    this.#current = current;
  }

  get current(): Membership {
    return this.#current;
  }

  /** The takeovers that are outstanding. */
  get outstanding(): ReadonlySet<TakeOver> {
    return this.#takeOvers;
  }

  /** There is no other member, and none that has to hand over. */
  get #isAlone(): boolean {
    const { members } = this.#current;
    const isOnly = members.length === 0 || (members.length === 1 && members[0]!.name === this.#self.name);
    return isOnly && this.#takeOvers.size === 0;
  }

  /** Whether this member may be asked to hand over: not while it has yet to take over itself what it would hand over. */
  get mayHandOver(): boolean {
    for (const { before } of this.#takeOvers) if (before !== undefined) return false;
    return true;
  }

  decider(url: string): Decider {
    if (this.#isAlone) return "here";
    return this.#deciderOf(url, this.#current, this.#takeOvers, this.#retained);
  }

  /** Other members that may decide about an object, as far as this one knows: it cannot tell which one does. */
  mayDecide(url: string): MemberInfo[] {
    const members = [0, 1].flatMap((rank) => this.#current.owner(url, 0, rank) ?? []);
    const byName = new Map([...members, ...this.notConfirmed(url)].map((member) => [member.name, member]));
    byName.delete(this.#self.name);
    return [...byName.values()].slice(0, MOST_DECIDERS);
  }

  /** Members that decided about an object, as far as this one knows, and have not confirmed yet that they stopped. */
  notConfirmed(url: string): MemberInfo[] {
    const members: MemberInfo[] = [];
    for (const { from, covers } of this.#takeOvers) if (members.length < MOST_DECIDERS && covers(url)) members.push(from);
    return members;
  }

  /** The list has changed. Returns the takeovers that begin. */
  update(list: Membership): TakeOver[] {
    const before = this.#current;
    const decidedBefore = this.#decidedNow();
    this.#current = list;
    if (this.#isShuttingDown) return [];
    const left = before.members.filter(({ name }) => name !== this.#self.name && list.member(name) === undefined);
    const joined = list.members.filter(({ name }) => name !== this.#self.name && before.member(name) === undefined);
    for (const name of this.#retained.keys()) if (list.member(name) === undefined) this.#retained.delete(name);
    const wasMember = before.member(this.#self.name) !== undefined;
    const gained = list.member(this.#self.name) === undefined ? list.members : joined;
    if (wasMember && !this.#mayHaveBeenReplaced) for (const { name } of gained) this.#retained.set(name, decidedBefore);
    // The others go on deciding about this member's objects. What they confirmed by a list without this member does not count.
    const isNew = !wasMember && list.member(this.#self.name) !== undefined;
    return [
      ...left.map((from) => this.#begin({ from, before, covers: (url) => before.owner(url, 0)?.name === from.name })),
      ...(isNew ? this.started() : joined.map((from) => this.#begin(this.#substitution(from)))),
    ];
  }

  /**
   * This member has started, or is in the list for the first time or again. Any other member may have decided about its objects, by a
   * list with fewer members. It decides about nothing until all others have confirmed that they do not. Returns the takeovers that begin.
   */
  started(): TakeOver[] {
    return this.#others().map((from) => this.#begin({ from, before: undefined, covers: () => true }));
  }

  /**
   * Another member decides about objects of this one, which has not noticed that it was not in the list for a while. Undefined: it is
   * taking over from that member.
   */
  takeOverFrom(name: string): TakeOver | undefined {
    const from = this.#current.member(name);
    const isBegun = [...this.#takeOvers].some((takeOver) => takeOver.from.name === name && takeOver.before === undefined);
    return from === undefined || isBegun ? undefined : this.#begin({ from, before: undefined, covers: () => true });
  }

  /** Members that became the homes of objects of this one and have not taken over. */
  get retainedFor(): MemberInfo[] {
    return this.#current.members.filter(({ name }) => this.#retained.has(name));
  }

  /**
   * This member shuts down, and other members cannot ask it any more. It decides about nothing: they substitute for it, while its last
   * reads still run. Those ask the next member on the ring.
   */
  shutDown(): void {
    this.#isShuttingDown = true;
    this.#retained.clear();
  }

  /**
   * This member stood still for so long that others may have taken it for dead. It decides about nothing until those that substitute
   * for it have confirmed that they do not. Returns the takeovers that begin.
   */
  reset(): TakeOver[] {
    this.#retained.clear();
    const known = new Set([...this.#takeOvers].map(({ from }) => from.name));
    const others = this.#others().filter(({ name }) => !known.has(name));
    return others.map((from) => this.#begin(this.#substitution(from)));
  }

  /**
   * This member stood still. A member that joined meanwhile may have taken over without its confirmation, so this member stops
   * deciding about the objects of each member that it hears of for a while. One that did not answer before may have come back, and granted
   * leases.
   */
  stoodStill(): void {
    this.#gone.clear();
    this.#stoodStillAtMs = this.#clock.monotonicMs();
  }

  /** The member has confirmed, or is gone for so long that its leases have expired. */
  tookOver(takeOver: TakeOver): void {
    this.#takeOvers.delete(takeOver);
  }

  /**
   * Another member takes over the objects whose home it is. Returns whether this member decided until now about one of them: as the
   * home before, or in place of the home.
   */
  handedOver(name: string): (url: string) => boolean {
    const before = this.#retained.get(name);
    const wasGone = this.#gone.has(name);
    const current = this.#current;
    this.#retained.delete(name);
    this.#gone.delete(name);
    return (url) => before?.(url) === true || (wasGone && current.owner(url, 0, 1)?.name === this.#self.name);
  }

  /**
   * Another member decides in place of a home that cannot be reached. Returns whether this member decided until now about objects of
   * that home, because the home has not taken over.
   */
  released(home: string): boolean {
    return this.#retained.delete(home);
  }

  /** Whether this member is the object's home, or the next one on the ring, which decides in place of the home. */
  isSubstitute(url: string): boolean {
    return [0, 1].some((rank) => this.#current.owner(url, 0, rank)?.name === this.#self.name);
  }

  /** The member does not answer. Returns since when, monotonic milliseconds. */
  isGone(name: string): number {
    let sinceMs = this.#gone.get(name);
    if (sinceMs === undefined) {
      sinceMs = this.#clock.monotonicMs();
      this.#gone.set(name, sinceMs);
    }
    return sinceMs;
  }

  /** Whether the member has not answered since this moment, monotonic milliseconds. */
  isGoneSince(name: string, sinceMs: number): boolean {
    return this.#gone.get(name) === sinceMs;
  }

  /** The member answers. */
  answered(name: string): void {
    if (this.#gone.size > 0) this.#gone.delete(name);
  }

  /** Milliseconds until no lease of a member that has been gone since then can be valid. */
  leasesLastMs(goneSinceMs: number): number {
    return Math.max(0, Math.ceil(goneSinceMs + LEASE_MS - this.#clock.monotonicMs()));
  }

  get #mayHaveBeenReplaced(): boolean {
    return this.#clock.monotonicMs() - this.#stoodStillAtMs < LIST_LAG_MS;
  }

  #deciderOf(url: string, list: Membership, takeOvers: Iterable<TakeOver>, retained: ReadonlyMap<string, Retained>): Decider {
    const home = list.owner(url, 0);
    if (home === undefined || home.name === this.#self.name) {
      const next = list.owner(url, 0, 1);
      if (this.#isShuttingDown) return next ?? "here";
      let before: MemberInfo | undefined;
      for (const { from, covers } of takeOvers)
        if (covers(url) && (before === undefined || from.name === next?.name)) before = from;
      return before ?? "here";
    }
    return retained.size > 0 && retained.get(home.name)?.(url) === true ? "here" : home;
  }

  /**
   * The objects about which this member decides at this moment. One that it has not taken over yet is none of them, although the list
   * names this member as its home:
   * 1. P decides about u. By the next list M is u's home, and asks P to hand over.
   * 2. By the list after that N is u's home. P decides still, M does not.
   */
  #decidedNow(): Retained {
    if (this.#isAlone) return () => true;
    const [list, takeOvers, retained] = [this.#current, [...this.#takeOvers], new Map(this.#retained)];
    return (url) => this.#deciderOf(url, list, takeOvers, retained) === "here";
  }

  #others(): MemberInfo[] {
    return this.#current.members.filter(({ name }) => name !== this.#self.name);
  }

  #begin(takeOver: TakeOver): TakeOver {
    this.#takeOvers.add(takeOver);
    return takeOver;
  }

  /**
   * Objects that the next member on the ring decides about while this member is away, by the list of then or of now: those whose home this
   * member is, and those that it decides about while their home is away.
   */
  #substitution(from: MemberInfo): TakeOver {
    const then = this.#current;
    const isNext = (list: Membership, url: string): boolean =>
      list.owner(url, 0, 1)?.name === from.name ||
      (list.owner(url, 0, 1)?.name === this.#self.name && list.owner(url, 0, 2)?.name === from.name);
    return { from, before: undefined, covers: (url) => isNext(then, url) || isNext(this.#current, url) };
  }
}
