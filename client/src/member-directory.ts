import { CacheError, DEFAULT_GEOMETRY, type Geometry, type MemberInfo, type MemberList, Membership } from "@frontcache/proto";
import { type Backoff, backoffMs, sleep, untilAborted } from "@frontcache/proto/runtime";
import type { CircuitBreaker } from "./members/circuit-breaker.js";
import type { Clock } from "./members/clock.js";
import { ConnectionFailure } from "./members/connection-failure.js";
import { type MemberAddress, type MemberConnections, Unreachable } from "./members/ports.js";
import { RunningCall } from "./members/running-call.js";
import type { BlockOwners } from "./read-block.js";

/** The member list that the client follows, and the members to ask for a block. */
export interface KnownMembers extends BlockOwners {
  /** The last known members, by name; empty until a list was received. */
  readonly members: readonly MemberInfo[];
  /** Stops the watch of the list. */
  close(): Promise<void>;
}

/** The collaborators of the watch. */
export interface WatchOptions {
  /** The address that the client was given. */
  readonly endpoint: string;
  readonly clock: Clock;
  readonly connections: Pick<MemberConnections, "calls" | "keepOnly">;
  /** Its keys are gRPC addresses. */
  readonly breaker: CircuitBreaker;
  /** Delays before a broken watch is restarted. */
  readonly backoff: Backoff;
}

/** Maximum members of the ring to ask for a block: its owner and the next ones. */
const OWNERS_TO_ASK = 4;
/** Position of the endpoint among them: if the owner and the next member are unreachable, the endpoint may have a newer list. */
const ENDPOINT_RANK = 2;

/**
 * Keeps the ring current through WatchMembers. If a watch ends, it is restarted alternately at the endpoint and at a random
 * member; meanwhile the last list is used. If the endpoint does not support WatchMembers, or computes its ring differently, the
 * client uses only the endpoint, which forwards reads.
 */
export class WatchedMembers implements KnownMembers {
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

  /** Resolves after the first list, or if the endpoint sends none. Rejects if the endpoint does not answer in time. */
  static async start(options: WatchOptions, call: RunningCall): Promise<WatchedMembers> {
    if (call.ended !== undefined) throw call.ended;
    const members = new WatchedMembers(options);
    try {
      const first = new Promise<void>((resolve, reject) => {
        members.#following = members.#follow(resolve, reject);
      });
      await untilAborted(first, call.signal);
      return members;
    } catch (error) {
      await members.close();
      if (!(error instanceof Unreachable)) throw error;
      // For example: "cannot connect to 10.0.0.7:8080: connection refused".
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

  /** Watches until closed. Calls `begun` after the first list, or if there is none; calls `failed` if the first watch fails. */
  async #follow(begun: () => void, failed: (error: unknown) => void): Promise<void> {
    const { clock, connections, breaker, backoff } = this.#options;
    const { signal } = this.#watch;
    let isListed = false;
    for (let failures = 0; !signal.aborted; ) {
      const address = this.#nextAddress(failures);
      try {
        const onMembers = (list: MemberList): void => {
          isListed = true;
          failures = 0;
          breaker.succeeded(address.grpcAddress);
          this.#apply(list);
          begun();
        };
        const end = await connections.calls.watchMembers(address, onMembers, this.#watch);
        breaker.succeeded(address.grpcAddress);
        if (end === "unsupported" && !isListed) return begun();
      } catch (error) {
        if (error instanceof Unreachable) breaker.failed(address.grpcAddress);
        if (!isListed) return failed(error);
      }
      failures++;
      await sleep(
        clock,
        backoffMs(backoff, failures, () => clock.random()),
        signal,
      ).catch(() => undefined);
    }
  }

  /** Alternates between the endpoint and a random member, because either can be unreachable. */
  #nextAddress(failures: number): MemberAddress {
    const { members } = this;
    if (failures % 2 === 0 || members.length === 0) return this.#endpoint;
    return members[Math.floor(this.#options.clock.random() * members.length)]!;
  }

  #apply(list: MemberList): void {
    let next: Membership;
    try {
      next = Membership.fromMessage(list, this.#membership);
    } catch {
      // The list is invalid, or of a much newer version: keep the last one.
      return;
    }
    this.#membership = next;
    this.#ranksAlike = next.hash === list.hash;
    const addresses = [...next.members, this.#endpoint];
    this.#options.breaker.keepOnly(new Set(addresses.map(({ grpcAddress }) => grpcAddress)));
    this.#options.connections.keepOnly(addresses);
  }
}
