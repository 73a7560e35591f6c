import type { MemberInfo } from "@frontcache/proto";
import { sleep, untilAborted } from "@frontcache/proto/runtime";
import type { Clock } from "../runtime/clock.js";
import type { HomeChanges } from "./home-changes.js";
import type { Peers } from "./peers.js";

/** How often a member is asked that has not confirmed; later, if it does not for a minute. */
const EVERY_MS = 100;
const SOON_FOR_MS = 60_000;
const LATE_EVERY_MS = 5_000;
/** How long a call may take. Reads of the home's objects wait for the first one to each member. */
const CALL_MS = 500;

export interface RetainingMembersOptions {
  readonly peers: Peers;
  readonly changes: HomeChanges;
  readonly clock: Pick<Clock, "monotonicMs" | "after">;
  /** Aborted when the member closes. */
  readonly signal: AbortSignal;
}

/** The time in which a home does not answer, and the member list remains the same. */
interface Absence {
  readonly home: MemberInfo;
  readonly sinceMs: number;
  /** Hash of the member list. */
  readonly hash: string;
  /** By name: members that may decide about objects of the home. */
  readonly unconfirmed: Map<string, MemberInfo>;
  /** Resolves when each of them has been asked once. */
  asked: Promise<unknown>;
  /** When the last of the others confirmed, monotonic milliseconds. */
  confirmedAtMs: number;
}

/**
 * Members that may decide about objects of a home which cannot be reached. Each of them is asked to stop before this member decides in
 * the home's place:
 * 1. P decides about u. H joins, and becomes the home of u. P decides until H has taken over (`HomeChanges`).
 * 2. The network divides: H is on one side, P and this member on the other one.
 * 3. This member finds that H is gone. It asks P, which decides about the objects of H no more, and confirms.
 */
export class RetainingMembers {
  readonly #options: RetainingMembersOptions;
  /** By the name of the home. */
  readonly #absences = new Map<string, Absence>();
  readonly #running = new Set<Promise<unknown>>();

  constructor(options: RetainingMembersOptions) {
    this.#options = options;
  }

  /** The members that may decide about objects of a home that is gone. Resolves when each of the others has been asked to stop. */
  async of(home: MemberInfo): Promise<readonly MemberInfo[]> {
    for (;;) {
      const absence = this.#absence(home);
      const { unconfirmed, asked } = absence;
      if (unconfirmed.size > 0) await untilAborted(asked, this.#options.signal);
      if (this.#absence(home) === absence) return [...unconfirmed.values()];
    }
  }

  /** Since when a member does not answer, monotonic milliseconds. One that has answered a probe may have granted leases after it. */
  goneSinceMs(member: MemberInfo): number {
    const { changes, peers } = this.#options;
    if (peers.answeredAtMs(member) >= changes.isGone(member.name)) changes.answered(member.name);
    return changes.isGone(member.name);
  }

  /**
   * Since when no other member decides about the objects of a home that is gone, monotonic milliseconds. What was observed before may be
   * older than what others have handed out.
   */
  undecidedSinceMs(home: MemberInfo): number {
    const sinceMs = this.goneSinceMs(home);
    const absence = this.#absences.get(home.name);
    return absence?.sinceMs === sinceMs ? absence.confirmedAtMs : sinceMs;
  }

  /** Resolves when no call is on its way any more. Call it after the signal was aborted. */
  async closed(): Promise<void> {
    await Promise.all(this.#running);
  }

  #absence(home: MemberInfo): Absence {
    const { changes } = this.#options;
    const sinceMs = this.goneSinceMs(home);
    const { hash } = changes.current;
    const known = this.#absences.get(home.name);
    if (known?.sinceMs === sinceMs && known.hash === hash) return known;
    const unconfirmed = this.#others(home);
    const absence: Absence = { home, sinceMs, hash, unconfirmed, asked: Promise.resolve(), confirmedAtMs: sinceMs };
    for (const name of this.#absences.keys()) if (changes.current.member(name) === undefined) this.#absences.delete(name);
    this.#absences.set(home.name, absence);
    absence.asked = Promise.all([...unconfirmed.values()].map((member) => this.#start(absence, member)));
    return absence;
  }

  #others(home: MemberInfo): Map<string, MemberInfo> {
    const { peers, changes } = this.#options;
    const others = changes.current.members.filter(({ name }) => name !== peers.self.name && name !== home.name);
    return new Map(others.map((member) => [member.name, member]));
  }

  /** Resolves when a member has been asked once; it is asked again until it confirms. */
  #start(absence: Absence, member: MemberInfo): Promise<unknown> {
    const first = this.#confirms(absence, member);
    const rest = first.then((isConfirmed) => (isConfirmed ? undefined : this.#askAgain(absence, member)));
    const running = rest.catch(() => {}); // the member closes
    this.#running.add(running);
    void running.finally(() => this.#running.delete(running));
    return first;
  }

  /** A member that is gone itself is asked although no lease of it can be valid: it may come back, and not know that it must stop. */
  async #askAgain(absence: Absence, member: MemberInfo): Promise<void> {
    const { clock, signal } = this.#options;
    const begunMs = clock.monotonicMs();
    do {
      await sleep(clock, clock.monotonicMs() - begunMs < SOON_FOR_MS ? EVERY_MS : LATE_EVERY_MS, signal);
    } while (this.#isCurrent(absence) && !(await this.#confirms(absence, member)));
  }

  /** Asks a member. Returns whether it has confirmed. */
  async #confirms(absence: Absence, member: MemberInfo): Promise<boolean> {
    const { peers, changes, signal } = this.#options;
    const call = peers.call(member.name, signal, CALL_MS);
    const request = { name: peers.self.name, hash: absence.hash, home: absence.home.name };
    try {
      const isConfirmed = await peers.connections.objects.handOver(member, request, () => {}, call);
      changes.answered(member.name);
      if (isConfirmed) this.#confirmed(absence, member);
      return isConfirmed;
    } catch {
      if (changes.leasesLastMs(changes.isGone(member.name)) === 0) this.#confirmed(absence, member);
      return false;
    } finally {
      call.end();
    }
  }

  #confirmed(absence: Absence, { name }: MemberInfo): void {
    absence.unconfirmed.delete(name);
    absence.confirmedAtMs = this.#options.clock.monotonicMs();
  }

  /** Whether the home is still gone, and the member list the same. */
  #isCurrent({ home, sinceMs, hash }: Absence): boolean {
    const { changes } = this.#options;
    return changes.isGoneSince(home.name, sinceMs) && changes.current.hash === hash;
  }
}
