import { type MemberInfo, ValueAnswer, ValueCall, type ValueEventMessage, type WatchValuesRequest } from "@frontcache/proto";
import { BoundedMap } from "@frontcache/proto/runtime";
import type { BodyPieces } from "./body-tee.js";
import type { ValueRead } from "./values.js";

/** Bytes for a step that writes them: whole, or as they arrive. */
export type StepBytes = Uint8Array | BodyPieces;

/** A read of a value's bytes by another member. */
export interface MemberRead {
  readonly url: string;
  /** Undefined: the current one. */
  readonly version: string | undefined;
  readonly offset: number;
  /** Undefined: to the end. */
  readonly length: number | undefined;
}

/** The other members, as values need them. All calls reject with a CacheError, with Unreachable if the member cannot be reached. */
export interface ValueMembers {
  readonly self: string;
  /** Members of the newest list, this one included. */
  readonly members: readonly MemberInfo[];
  /** Identifies the newest list. */
  readonly hash: string;
  /** All members in the order of the ring at a value. */
  ring(url: string): Iterable<MemberInfo>;
  /** Members that may have the value by an earlier list, which some of them may still have. Empty: the list has not changed for a while. */
  earlier(url: string): readonly MemberInfo[];
  /** Whether calls to a member fail at once. */
  isUnreachable(member: MemberInfo): boolean;
  call(member: MemberInfo, call: Partial<ValueCall>, signal: AbortSignal, timeoutMs: number): Promise<ValueAnswer>;
  /** As `call`, for a step that writes bytes. It has no timeout: its caller aborts the signal. */
  send(member: MemberInfo, call: Partial<ValueCall>, bytes: StepBytes, signal: AbortSignal): Promise<ValueAnswer>;
  /**
   * Opens a read at the first of these members that can be reached. If that one is lost, the read resumes at the next one. Rejects with
   * FAILED_PRECONDITION if the value has another version, NOT_FOUND, OUT_OF_RANGE, also for an empty value.
   */
  open(members: readonly MemberInfo[], read: MemberRead, signal: AbortSignal): Promise<ValueRead>;
  /** Passes on events until the signal is aborted. */
  watch(
    member: MemberInfo,
    request: WatchValuesRequest,
    onEvent: (event: ValueEventMessage) => void,
    signal: AbortSignal,
  ): Promise<void>;
}

/** The members at a time. */
export interface MemberState {
  readonly listHash: string;
  readonly unreachable: ReadonlySet<string>;
  /** Equal for equal states. */
  readonly hash: string;
}

/** Values whose places on the ring are remembered. */
const REMEMBERED_URLS = 4_096;

/** Which members keep which values. */
export class Placement {
  readonly #members: ValueMembers;
  readonly #replicas: number;
  #nearHash = "";
  #nearby = new BoundedMap<string, readonly MemberInfo[]>(REMEMBERED_URLS);
  /** Called when a member is passed over because it cannot be reached: it may take writes that this one does not learn of. */
  onPassedOver: (name: string) => void = () => {};

  constructor(members: ValueMembers, replicas: number) {
    this.#members = members;
    this.#replicas = replicas;
  }

  /** The members that keep a value: the first reachable ones on the ring. */
  holders(url: string): MemberInfo[] {
    const holders: MemberInfo[] = [];
    for (const member of this.#members.ring(url)) {
      if (!this.isSelf(member) && this.#members.isUnreachable(member)) {
        this.onPassedOver(member.name);
        continue;
      }
      if (holders.push(member) === this.#replicas) break;
    }
    return holders;
  }

  isHolder(url: string): boolean {
    let reachable = 0;
    for (const member of this.#near(url)) {
      if (this.isSelf(member)) return true;
      if (this.#members.isUnreachable(member)) this.onPassedOver(member.name);
      else if (++reachable === this.#replicas) return false;
    }
    return this.holders(url).some((member) => this.isSelf(member));
  }

  isHolderNamed(url: string, name: string): boolean {
    return this.holders(url).some((member) => member.name === name);
  }

  /** Other reachable members that may know a newer version than this one: holders, those that stood in for them, and earlier holders. */
  others(url: string): MemberInfo[] {
    const others = new Map(this.#near(url).map((member) => [member.name, member]));
    for (const member of this.#members.earlier(url)) others.set(member.name, member);
    return [...others.values()].filter((member) => !this.isSelf(member) && !this.#members.isUnreachable(member));
  }

  /** Members of the list that may have a value and cannot be reached. */
  unreachable(url: string): MemberInfo[] {
    const isUnreachable = (member: MemberInfo): boolean => !this.isSelf(member) && this.#members.isUnreachable(member);
    const unreachable = this.#near(url).filter(isUnreachable);
    for (const member of this.#members.earlier(url)) {
      const isNew = isUnreachable(member) && !unreachable.some(({ name }) => name === member.name);
      if (isNew && this.isListed(member)) unreachable.push(member);
    }
    return unreachable;
  }

  /** Whether a member is in the newest list. */
  isListed({ name }: MemberInfo): boolean {
    return this.#members.members.some((member) => member.name === name);
  }

  /** Returns whether all members that may have a value can be reached, those of an earlier list, too. */
  canReachAll(url: string): boolean {
    const isReached = (member: MemberInfo): boolean => this.isSelf(member) || !this.#members.isUnreachable(member);
    return this.#near(url).every(isReached) && this.#members.earlier(url).every(isReached);
  }

  /**
   * Whether a value that is not found does not exist, although `silent` members that may have it did not answer. A value has
   * `--replicas` copies: one of them was found, unless all were at these members and at those that are `lost`, which do not run or have
   * lost their disks.
   */
  isAbsenceCertain(silent: number, lost: number): boolean {
    return silent === 0 || silent + lost < this.#replicas;
  }

  /** Copies that a value can have now. */
  get copies(): number {
    return Math.min(this.#replicas, this.#members.members.length);
  }

  /** Whether the members near a value on the ring are those of `state`, and reachable or not as they were then. */
  isAsIn(state: MemberState, url: string): boolean {
    if (this.#members.hash !== state.listHash) return false;
    for (const member of this.#near(url)) {
      if (!this.isSelf(member) && this.#members.isUnreachable(member) !== state.unreachable.has(member.name)) return false;
    }
    return true;
  }

  /** Whether a condition holds for all of `others`. Makes no list, because each hot read asks. */
  everyOther(url: string, isMet: (name: string) => boolean): boolean {
    const holds = (member: MemberInfo): boolean =>
      this.isSelf(member) || this.#members.isUnreachable(member) || isMet(member.name);
    return this.#near(url).every(holds) && this.#members.earlier(url).every(holds);
  }

  /** The holders if all members can be reached, and those behind them that may stand in for them. Remembered until the list changes. */
  #near(url: string): readonly MemberInfo[] {
    const { hash } = this.#members;
    if (this.#nearHash !== hash) [this.#nearHash, this.#nearby] = [hash, new BoundedMap(REMEMBERED_URLS)];
    let near = this.#nearby.peek(url);
    if (near === undefined) {
      const found: MemberInfo[] = [];
      for (const member of this.#members.ring(url)) if (found.push(member) === this.#replicas + STAND_INS) break;
      near = found;
      this.#nearby.set(url, near);
    }
    return near;
  }

  /** Which members there are, and which of them cannot be reached. */
  get state(): MemberState {
    const unreachable = this.#members.members.filter((member) => !this.isSelf(member) && this.#members.isUnreachable(member));
    const names = unreachable.map(({ name }) => name).sort();
    return { listHash: this.#members.hash, unreachable: new Set(names), hash: [this.#members.hash, ...names].join(" ") };
  }

  isSelf({ name }: MemberInfo): boolean {
    return name === this.#members.self;
  }
}

/** Members behind the holders on the ring that may have stood in for them. */
const STAND_INS = 2;

/** A call with one step. */
export function callOf(name: string, step: Partial<ValueCall>): ValueCall {
  return ValueCall.fromPartial({ name, ...step });
}

/** An answer with these fields. */
export function answerOf(fields: Partial<ValueAnswer>): ValueAnswer {
  return ValueAnswer.fromPartial(fields);
}
