import type { MemberInfo, Membership } from "@frontcache/proto";
import type { Clock } from "../runtime/clock.js";

/** How long a replaced list still counts for who may have cached a block: longer than a pod takes to stop and to start again. */
const REMEMBER_MS = 60_000;
/** How long members may take to find a new one in their lists. */
const NEW_MS = 10_000;
/** Lists remembered; a rolling restart replaces many in a minute. */
const MAX_REMEMBERED = 8;
/** Members of the newest list that may have been a block's owner, or may have read it in place of the owner. */
const RANKS = 2;

const NOBODY: readonly MemberInfo[] = [];

/** The newest member list, and the ones before it for a while: a block's owner by an earlier list is likely to have it cached. */
export class MemberView {
  readonly #self: string;
  readonly #clock: Clock;

  readonly #startedAtMs: number;
  #current: Membership;
  readonly #listeners = new Set<(membership: Membership) => void>();
  #earlier: { readonly membership: Membership; readonly replacedAtMs: number }[] = [];

  constructor(self: string, clock: Clock, first: Membership) {
    this.#self = self;
    this.#clock = clock;
    this.#startedAtMs = clock.monotonicMs();
    this.#current = first;
  }

  get current(): Membership {
    return this.#current;
  }

  update(membership: Membership): void {
    if (membership === this.#current) return;
    this.#earlier.unshift({ membership: this.#current, replacedAtMs: this.#clock.monotonicMs() });
    this.#earlier.length = Math.min(this.#earlier.length, MAX_REMEMBERED);
    this.#current = membership;
    for (const listener of [...this.#listeners]) listener(membership);
  }

  /** Calls back with the newest list at once, and with each new one. The returned function ends it. */
  subscribe(listener: (membership: Membership) => void): () => void {
    const own = (membership: Membership): void => listener(membership);
    this.#listeners.add(own);
    own(this.#current);
    return () => this.#listeners.delete(own);
  }

  /** All members of the newest list and of those that are still remembered, each at its newest address. */
  known(): MemberInfo[] {
    const known = new Map<string, MemberInfo>();
    for (const list of this.#lists()) {
      for (const member of list.members) if (!known.has(member.name)) known.set(member.name, member);
    }
    return [...known.values()];
  }

  /** Whether the list has changed within the last minute, so that other members than the next ones may have cached a block. */
  get changedRecently(): boolean {
    return this.#lists().length > 1;
  }

  /** Whether this member has just started, so that others may have a list without it. */
  get startedRecently(): boolean {
    return this.#clock.monotonicMs() - this.#startedAtMs < NEW_MS;
  }

  /**
   * Other members that may have cached a block, the likeliest first: its owners by the earlier lists, newest first, then the first on
   * the current ring. A member that is not in the list any more answers until it has shut down.
   */
  mayHave(url: string, blockOffset: number): readonly MemberInfo[] {
    const { members } = this.#current;
    const isAlone = members.length === 0 || (members.length === 1 && members[0]!.name === this.#self);
    if (isAlone && this.#earlier.length === 0) return NOBODY;
    const found = new Map<string, MemberInfo>();
    const add = (member: MemberInfo | undefined): void => {
      if (member === undefined || member.name === this.#self || found.has(member.name)) return;
      found.set(member.name, this.#current.member(member.name) ?? member);
    };
    for (const list of this.#lists().slice(1)) add(list.owner(url, blockOffset));
    for (let rank = 0; rank <= RANKS; rank++) add(this.#current.owner(url, blockOffset, rank));
    return [...found.values()];
  }

  #lists(): Membership[] {
    if (this.#earlier.length === 0) return [this.#current];
    const oldestMs = this.#clock.monotonicMs() - REMEMBER_MS;
    this.#earlier = this.#earlier.filter(({ replacedAtMs }) => replacedAtMs > oldestMs);
    return [this.#current, ...this.#earlier.map(({ membership }) => membership)];
  }
}
