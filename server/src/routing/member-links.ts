import type { MemberInfo } from "@frontcache/proto";
import type { Clock } from "../runtime/clock.js";
import type { OpenChannel } from "./member-channel.js";
import { MemberLink } from "./member-link.js";

/** How long a member out of reach is left aside: 250 ms after the first failure, doubled after each further one, up to 10 s. */
const FIRST_ASIDE_MS = 250;
const MAX_ASIDE_MS = 10_000;

interface Aside {
  readonly failures: number;
  readonly untilMs: number;
  probing: boolean;
}

/** The channels to the other members: opened when first needed, one a member, closed when it leaves or moves. */
export class MemberLinks {
  readonly #links = new Map<string, MemberLink>();
  readonly #aside = new Map<string, Aside>();

  constructor(
    private readonly clock: Clock,
    private readonly openChannel: OpenChannel,
  ) {}

  /** The channel to a member, at the address that it has now. */
  to(member: MemberInfo): MemberLink {
    const known = this.#links.get(member.name);
    if (known?.member.grpcAddress === member.grpcAddress) return known;
    known?.close();
    this.#aside.delete(member.name);
    const link = new MemberLink(member, this.clock, this.openChannel(member));
    this.#links.set(member.name, link);
    return link;
  }

  /**
   * Whether the member was out of reach a moment ago, so that no read should wait for it. When its time is over it is probed
   * beside the reads, and stays aside until the probe has reached it.
   */
  isAside(member: MemberInfo): boolean {
    const aside = this.#aside.get(member.name);
    if (aside === undefined) return false;
    const link = this.to(member);
    if (!aside.probing && this.clock.monotonicMs() >= aside.untilMs) {
      aside.probing = true;
      link.probe().then(
        () => {
          if (this.#isNewest(link.member)) this.#aside.delete(member.name);
        },
        () => this.#setAside(link.member, aside.failures + 1),
      );
    }
    return this.#aside.has(member.name);
  }

  /** The member could not be reached. Failures of reads that ran together count once. */
  lost(member: MemberInfo): void {
    if (!this.#aside.has(member.name)) this.#setAside(member, 1);
  }

  /** Closes the channels to members that `keeps` says no to. */
  retain(keeps: (name: string) => boolean): void {
    for (const [name, link] of this.#links) {
      if (keeps(name)) continue;
      link.close();
      this.#links.delete(name);
      this.#aside.delete(name);
    }
  }

  close(): void {
    this.retain(() => false);
  }

  #setAside(member: MemberInfo, failures: number): void {
    if (!this.#isNewest(member)) return;
    const forMs = Math.min(MAX_ASIDE_MS, FIRST_ASIDE_MS * 2 ** (failures - 1));
    this.#aside.set(member.name, { failures, untilMs: this.clock.monotonicMs() + forMs, probing: false });
  }

  /** Whether it has not left, and not moved since: what was learned of its old address does not concern the new one. */
  #isNewest({ name, grpcAddress }: MemberInfo): boolean {
    return this.#links.get(name)?.member.grpcAddress === grpcAddress;
  }
}
