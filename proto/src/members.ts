import { createHash } from "node:crypto";
import { CacheError } from "./errors.js";
import type { Member, MemberList } from "./gen/cache.js";
import { isListenerAddress } from "./listen-addresses.js";
import { MAX_RING_MEMBERS, RING_PARAMETERS, Ring } from "./ring.js";

/** A member's entry in the member list. */
export interface MemberInfo {
  /** Determines its place on the ring. It must survive restarts and changes of addresses. */
  readonly name: string;
  /** `host:port` of its gRPC listener, or `unix:/path` if it has only a Unix socket. */
  readonly grpcAddress: string;
  /** `host:port` or `unix:/path` of its HTTP listener; absent: it has none. */
  readonly httpAddress?: string;
}

/** Converts a member from a message. An empty HTTP address means that it has no HTTP listener. */
export function memberFromMessage({ name, grpcAddr, httpAddr }: Member): MemberInfo {
  return httpAddr === "" ? { name, grpcAddress: grpcAddr } : { name, grpcAddress: grpcAddr, httpAddress: httpAddr };
}

/** The reverse of `memberFromMessage`. */
export function memberToMessage({ name, grpcAddress, httpAddress }: MemberInfo): Member {
  return { name, grpcAddr: grpcAddress, httpAddr: httpAddress ?? "" };
}

/**
 * The members at one moment, and their ring. Immutable: a change creates a new Membership. Memberships with equal `hash` rank
 * every block equally and have the same addresses.
 */
export class Membership {
  /** Sorted by name, in code unit order. */
  readonly members: readonly MemberInfo[];
  readonly blockBytes: number;
  /** 16 hex digits over names, addresses, block size and ring parameters. */
  readonly hash: string;
  readonly #byName: ReadonlyMap<string, MemberInfo>;
  readonly #ring: Ring;

  private constructor(members: readonly MemberInfo[], blockBytes: number, previous: Membership | undefined) {
    this.members = Object.freeze(members.toSorted((a, b) => (a.name < b.name ? -1 : 1)));
    this.blockBytes = blockBytes;
    this.hash = hashOf(this.members, blockBytes);
    this.#byName = new Map(this.members.map((member) => [member.name, member]));
    this.#ring = previous?.sameNames(this.members) ? previous.#ring : new Ring([...this.#byName.keys()]);
  }

  /**
   * Creates the membership of members in any order; the list may be empty. If the names are unchanged, the ring of `previous` is
   * reused, so a changed address is cheap. Throws INVALID_ARGUMENT if a name is empty or duplicate, an address is neither
   * `host:port` nor `unix:/path`, the block size is not a positive whole number, or there are more than MAX_RING_MEMBERS members.
   */
  static of(members: readonly MemberInfo[], blockBytes: number, previous?: Membership): Membership {
    check(members, blockBytes);
    return new Membership(members, blockBytes, previous);
  }

  /**
   * Creates the membership from a member's message. Throws as `of` does. If its hash differs from the message's, the sender
   * computes its ring differently.
   */
  static fromMessage(message: MemberList, previous?: Membership): Membership {
    return Membership.of(message.members.map(memberFromMessage), message.blockBytes, previous);
  }

  /** Converts to a message. `name` is the member that sends it. */
  toMessage(name: string): MemberList {
    return { members: this.members.map(memberToMessage), hash: this.hash, blockBytes: this.blockBytes, name };
  }

  /** Returns each member's share of the ring, 0 to 1, by name. */
  ringShares(): ReadonlyMap<string, number> {
    return this.#ring.shares();
  }

  member(name: string): MemberInfo | undefined {
    return this.#byName.get(name);
  }

  /** Returns the block's owner (rank 0), or the member that takes over at a higher rank; undefined past the last. */
  owner(url: string, blockOffset: number, rank = 0): MemberInfo | undefined {
    const name = this.#ring.nameAt(url, blockOffset, rank);
    return name === undefined ? undefined : this.#byName.get(name);
  }

  /** Yields all members in the order in which they are asked for a block. Lazy, because the first is nearly always enough. */
  *owners(url: string, blockOffset: number): Generator<MemberInfo> {
    for (let rank = 0; ; rank++) {
      const member = this.owner(url, blockOffset, rank);
      if (member === undefined) return;
      yield member;
    }
  }

  private sameNames(members: readonly MemberInfo[]): boolean {
    return members.length === this.members.length && members.every((member, at) => member.name === this.members[at]!.name);
  }
}

const CONTROL_OR_SPACE = /[\s\p{Cc}]/u;

function check(members: readonly MemberInfo[], blockBytes: number): void {
  const refuse = (what: string): never => {
    throw new CacheError("INVALID_ARGUMENT", `member list: ${what}`);
  };
  if (!Number.isSafeInteger(blockBytes) || blockBytes <= 0) refuse(`block size ${blockBytes} is not a positive whole number`);
  if (members.length > MAX_RING_MEMBERS) refuse(`${members.length} members are more than a ring can have (${MAX_RING_MEMBERS})`);
  const names = new Set<string>();
  for (const { name, grpcAddress, httpAddress } of members) {
    if (name === "" || CONTROL_OR_SPACE.test(name)) refuse(`${JSON.stringify(name)} is not a name: use letters, digits, - and .`);
    if (names.has(name)) refuse(`the name ${name} is taken twice: give each member a name of its own`);
    names.add(name);
    for (const address of httpAddress === undefined ? [grpcAddress] : [grpcAddress, httpAddress]) {
      if (!isListenerAddress(address))
        refuse(`${JSON.stringify(address)} of ${name} is not an address: write host:port or unix:/path`);
    }
  }
}

function hashOf(members: readonly MemberInfo[], blockBytes: number): string {
  const listed = members.map(({ name, grpcAddress, httpAddress }) => [name, grpcAddress, httpAddress ?? ""]);
  return createHash("sha256")
    .update(JSON.stringify([RING_PARAMETERS, blockBytes, listed]))
    .digest("hex")
    .slice(0, 16);
}
