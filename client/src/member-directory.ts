import { CacheError, DEFAULT_GEOMETRY, type Geometry, type MemberInfo, type MemberList, Membership } from "@frontcache/proto";
import { type Backoff, backoffMs, sleep } from "@frontcache/proto/runtime";
import type { CircuitBreaker } from "./members/circuit-breaker.js";
import type { Clock } from "./members/clock.js";
import { ConnectionFailure } from "./members/connection-failure.js";
import { type MemberAddress, type MemberConnections, Unreachable } from "./members/ports.js";
import { RunningCall } from "./members/running-call.js";
import type { BlockOwners } from "./read-block.js";

/** Who the members are, and which of them to ask for a block. */
export interface MemberDirectory extends BlockOwners {
  /** The members as last heard, by name; none while nobody has told. */
  readonly members: readonly MemberInfo[];
  /** Ends whatever keeps the list up to date. */
  close(): Promise<void>;
}

/** What the watch works with. */
export interface WatchOptions {
  /** The address that the client was given. */
  readonly endpoint: string;
  readonly clock: Clock;
  readonly connections: Pick<MemberConnections, "calls" | "keepOnly">;
  /** By gRPC address. */
  readonly breaker: CircuitBreaker;
  /** The waits before a broken watch is begun again. */
  readonly backoff: Backoff;
}

/** Members of the ring to ask for a block: its owner, and those that take over in turn. */
const OWNERS_TO_ASK = 4;
/** Where the endpoint comes among them: when the owner and the next one are gone, it may know better who is there. */
const ENDPOINT_RANK = 2;

/**
 * The ring as members tell it by WatchMembers. A broken watch is begun again, at the endpoint and at members in turn; until
 * then the last list holds. The endpoint alone is asked when it does not know WatchMembers, or makes its ring in another way
 * than this client: it forwards.
 */
export class WatchedMembers implements MemberDirectory {
  readonly #options: WatchOptions;
  readonly #endpoint: MemberAddress;
  readonly #watch: RunningCall;
  #following: Promise<void> = Promise.resolve();
  #membership: Membership | undefined;
  #ranksAlike = false;

  private constructor(options: WatchOptions) {
    this.#options = options;
    this.#endpoint = { grpcAddress: options.endpoint };
    this.#watch = new RunningCall({ clock: options.clock, subject: "the member list" });
  }

  /** Resolves with the first list, or without one when the endpoint has none. Rejects when the endpoint does not answer in time. */
  static async start(options: WatchOptions, call: RunningCall): Promise<WatchedMembers> {
    if (call.ended !== undefined) throw call.ended;
    const members = new WatchedMembers(options);
    try {
      await new Promise<void>((resolve, reject) => {
        call.signal.addEventListener("abort", () => reject(call.signal.reason), { once: true });
        members.#following = members.#follow(resolve, reject);
      });
      return members;
    } catch (error) {
      await members.close();
      if (!(error instanceof Unreachable)) throw error;
      // Such as "cannot connect to 10.0.0.7:8080: connection refused".
      const why = error.cause instanceof ConnectionFailure ? error.cause.message : error.message;
      throw new CacheError("UNAVAILABLE", why, { cause: error });
    }
  }

  get geometry(): Geometry {
    const blockBytes = this.#membership?.blockBytes;
    return blockBytes === undefined ? DEFAULT_GEOMETRY : { ...DEFAULT_GEOMETRY, blockBytes };
  }

  get members(): readonly MemberInfo[] {
    return this.#membership?.members ?? [];
  }

  addressesOf(url: string, blockOffset: number): readonly MemberAddress[] {
    const membership = this.#ranksAlike ? this.#membership : undefined;
    if (membership === undefined) return [this.#endpoint];
    const addresses: MemberAddress[] = [];
    for (let rank = 0; rank < OWNERS_TO_ASK; rank++) {
      const owner = membership.owner(url, blockOffset, rank);
      if (owner !== undefined) addresses.push(owner);
    }
    const listed = addresses.some(({ grpcAddress }) => grpcAddress === this.#endpoint.grpcAddress);
    if (!listed) addresses.splice(ENDPOINT_RANK, 0, this.#endpoint);
    return addresses;
  }

  async close(): Promise<void> {
    this.#watch.abort(new CacheError("CANCELLED", "the client was closed"));
    await this.#following;
  }

  /** Watches for ever. `begun` is called with the first list, or when there is none; `failed` when even the first watch fails. */
  async #follow(begun: () => void, failed: (error: unknown) => void): Promise<void> {
    const { clock, connections, breaker, backoff } = this.#options;
    const { signal } = this.#watch;
    let heard = false;
    for (let failures = 0; !signal.aborted; ) {
      const address = this.#whomToAsk(failures);
      try {
        const onMembers = (list: MemberList): void => {
          heard = true;
          failures = 0;
          breaker.succeeded(address.grpcAddress);
          this.#apply(list);
          begun();
        };
        const end = await connections.calls.watchMembers(address, onMembers, this.#watch);
        breaker.succeeded(address.grpcAddress);
        if (end === "unsupported" && !heard) return begun();
      } catch (error) {
        if (error instanceof Unreachable) breaker.failed(address.grpcAddress);
        if (!heard) return failed(error);
      }
      failures++;
      await sleep(
        clock,
        backoffMs(backoff, failures, () => clock.random()),
        signal,
      ).catch(() => undefined);
    }
  }

  /** The endpoint and members by chance in turn: either the endpoint's member or the Service may be what is gone. */
  #whomToAsk(failures: number): MemberAddress {
    const { members } = this;
    if (failures % 2 === 0 || members.length === 0) return this.#endpoint;
    return members[Math.floor(this.#options.clock.random() * members.length)]!;
  }

  #apply(list: MemberList): void {
    let next: Membership;
    try {
      next = Membership.fromMessage(list, this.#membership);
    } catch {
      // A list that is none, from a member gone wrong or far ahead: the last one holds.
      return;
    }
    this.#membership = next;
    this.#ranksAlike = next.hash === list.hash;
    const addresses = [...next.members, this.#endpoint];
    this.#options.breaker.keepOnly(new Set(addresses.map(({ grpcAddress }) => grpcAddress)));
    this.#options.connections.keepOnly(addresses);
  }
}
