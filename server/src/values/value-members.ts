import { type MemberInfo, ValueAnswer, ValueCall, type ValueEventMessage, type WatchValuesRequest } from "@frontcache/proto";

/** The other members, as values need them. All calls reject with a CacheError, with Unreachable if the member cannot be reached. */
export interface ValueMembers {
  readonly self: string;
  /** Members of the newest list, this one included. */
  readonly members: readonly MemberInfo[];
  /** Identifies the newest list. */
  readonly hash: string;
  /** All members in the order of the ring at a value. */
  ring(url: string): Iterable<MemberInfo>;
  /** Members that may have the value by an earlier list. Empty: the list has not changed for a while. */
  earlier(url: string): readonly MemberInfo[];
  /** Whether calls to a member fail at once. */
  isUnreachable(member: MemberInfo): boolean;
  call(member: MemberInfo, call: Partial<ValueCall>, signal: AbortSignal, timeoutMs: number): Promise<ValueAnswer>;
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

/** Which members keep which values. */
export class Placement {
  readonly #members: ValueMembers;
  readonly #replicas: number;
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
    return this.holders(url).some((member) => this.isSelf(member));
  }

  isHolderNamed(url: string, name: string): boolean {
    return this.holders(url).some((member) => member.name === name);
  }

  /** Other reachable members that may know a newer version than this one: holders, those that stood in for them, and earlier holders. */
  others(url: string): MemberInfo[] {
    const others = new Map<string, MemberInfo>();
    let count = 0;
    for (const member of this.#members.ring(url)) {
      if (count++ === this.#replicas + STAND_INS) break;
      others.set(member.name, member);
    }
    for (const member of this.#members.earlier(url)) others.set(member.name, member);
    return [...others.values()].filter((member) => !this.isSelf(member) && !this.#members.isUnreachable(member));
  }

  /** Copies that a value can have now. */
  get copies(): number {
    return Math.min(this.#replicas, this.#members.members.length);
  }

  /** Whether the members near a value on the ring are those of `state`, and reachable or not as they were then. */
  isAsIn(state: MemberState, url: string): boolean {
    if (this.#members.hash !== state.listHash) return false;
    let count = 0;
    for (const member of this.#members.ring(url)) {
      if (count++ === this.#replicas + STAND_INS) break;
      if (!this.isSelf(member) && this.#members.isUnreachable(member) !== state.unreachable.has(member.name)) return false;
    }
    return true;
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
