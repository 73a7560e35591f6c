import {
  CacheError,
  DEFAULT_GEOMETRY,
  type Geometry,
  isListenerAddress,
  type MemberInfo,
  type MemberList,
  Membership,
  socketAddressOf,
  socketPathOf,
} from "@frontcache/proto";
import { type Backoff, backoffMs, sleep, untilAborted } from "@frontcache/proto/runtime";
import type { CircuitBreaker } from "./members/circuit-breaker.js";
import type { Clock } from "./members/clock.js";
import { ConnectionFailure } from "./members/connection-failure.js";
import { type CallLimits, type MemberAddress, type MemberConnections, Unreachable } from "./members/ports.js";
import { RunningCall } from "./members/running-call.js";
import type { BlockOwners } from "./read-block.js";

/** The member list that the client follows, and the members to ask for a block. */
export interface KnownMembers extends BlockOwners {
  /** The last known members, by name; empty until a list was received. */
  readonly members: readonly MemberInfo[];
  /** Whether an endpoint has answered. */
  readonly isReady: boolean;
  /** Stops the watch of the list. */
  close(): Promise<void>;
}

/** The collaborators of the watch. */
export interface WatchOptions {
  /** The addresses that the client was given, at least one. */
  readonly endpoints: readonly string[];
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

/** Maximum delay before the next endpoint is tried while none has answered yet, milliseconds. */
const MOST_DELAY_BEFORE_START_MS = 1_000;

/**
 * Keeps the ring current through WatchMembers. If a watch ends, it is restarted alternately at an endpoint and at a random
 * member; meanwhile the last list is used. If an endpoint does not support WatchMembers, or computes its ring differently, the
 * client uses only the endpoints, which forward reads. A client whose endpoint is a Unix socket stays on it: it asks that member for all
 * blocks, and others only if that member is unreachable.
 */
export class WatchedMembers implements KnownMembers {
  readonly #options: WatchOptions;
  readonly #watch: RunningCall;
  readonly #following: Promise<void>;
  /** The endpoints, the last one that answered first. */
  #endpoints: readonly MemberAddress[];
  /** Settles when the member list is known, or the first endpoint has no list to send. Undefined: that has happened. */
  #beginning: Promise<void> | undefined;
  #begin!: () => void;
  /** Settles when every endpoint has failed once. */
  readonly #failing: Promise<void>;
  #fail!: () => void;
  /** The last failure before the beginning. */
  #failure: CacheError | undefined;
  #membership: Membership | undefined;
  #ranksAlike = false;

  /** Starts the watch. */
  constructor(options: WatchOptions) {
    this.#options = options;
    this.#endpoints = options.endpoints.map((grpcAddress) => ({ grpcAddress }));
    this.#watch = new RunningCall({ clock: options.clock, subject: "the member list" });
    this.#beginning = new Promise((resolve) => {
      this.#begin = resolve;
    });
    this.#failing = new Promise((resolve) => {
      this.#fail = resolve;
    });
    this.#following = this.#follow();
  }

  /** Resolves when an endpoint has answered. Rejects when every endpoint has failed once. */
  async connected(call: CallLimits): Promise<void> {
    if (call.ended !== undefined) throw call.ended;
    if (this.#beginning === undefined) return;
    await untilAborted(Promise.race([this.#beginning, this.#failing]), call.signal);
    if (this.#beginning !== undefined) throw this.#failure;
  }

  get isReady(): boolean {
    return this.#beginning === undefined;
  }

  /** Resolves when an endpoint has answered. Rejects if the call ends before, or if an endpoint refuses this client. */
  async ready(call: CallLimits): Promise<void> {
    try {
      await untilAborted(Promise.race([this.#beginning, this.#failing]), call.signal);
      if (this.#failure?.retryable === false) throw this.#failure;
      await untilAborted(this.#beginning ?? Promise.resolve(), call.signal);
    } catch (error) {
      if (this.#failure === undefined || call.ended?.code !== "DEADLINE_EXCEEDED") throw error;
      const message = `${call.ended.message}: no member has answered yet: ${this.#failure.message}`;
      throw new CacheError("DEADLINE_EXCEEDED", message, { cause: this.#failure });
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
    if (membership === undefined) return this.#endpoints;
    const addresses: MemberAddress[] = [];
    for (let rank = 0; rank < OWNERS_TO_ASK; rank++) {
      const owner = membership.owner(url, blockOffset, rank);
      if (owner !== undefined) addresses.push(owner);
    }
    const endpoint = this.#endpoints[0]!;
    const rank = addresses.findIndex(({ grpcAddress }) => grpcAddress === endpoint.grpcAddress);
    if (socketPathOf(endpoint.grpcAddress) !== undefined) return [endpoint, ...addresses.filter((_, at) => at !== rank)];
    if (rank < 0) addresses.splice(ENDPOINT_RANK, 0, endpoint);
    return addresses;
  }

  async close(): Promise<void> {
    this.#watch.abort(new CacheError("CANCELLED", "the client was closed"));
    await this.#following;
  }

  /** Watches until closed. */
  async #follow(): Promise<void> {
    const { clock, connections, breaker, backoff, endpoints } = this.#options;
    const { signal } = this.#watch;
    for (let failures = 0; !signal.aborted; ) {
      const address = this.#nextAddress(failures);
      try {
        const onMembers = (list: MemberList): void => {
          failures = 0;
          this.#learnSocket(address, list);
          this.#apply(list);
          this.#answered(address);
        };
        const end = await connections.calls.watchMembers(address, onMembers, this.#watch);
        breaker.succeeded(address.grpcAddress);
        // The endpoint forwards reads. Without a list there is nothing to watch.
        if (end === "unsupported" && this.#membership === undefined) return this.#answered(address);
      } catch (error) {
        if (error instanceof Unreachable) breaker.failed(address.grpcAddress, error);
        if (this.#beginning !== undefined) {
          this.#failure = connectFailure(error);
          if (failures + 1 >= endpoints.length) this.#fail();
        }
      }
      failures++;
      // Each endpoint is tried once without delay.
      if (this.#beginning !== undefined && failures < endpoints.length) continue;
      const delayMs = backoffMs(backoff, failures, () => clock.random());
      const mostMs = this.#beginning === undefined ? delayMs : Math.min(delayMs, MOST_DELAY_BEFORE_START_MS);
      await sleep(clock, mostMs, signal).catch(() => undefined);
    }
  }

  #answered(address: MemberAddress): void {
    this.#options.breaker.succeeded(address.grpcAddress);
    const endpoint = this.#endpoints.find(({ grpcAddress }) => grpcAddress === address.grpcAddress);
    if (endpoint !== undefined) this.#endpoints = [endpoint, ...this.#endpoints.filter((other) => other !== endpoint)];
    this.#beginning = undefined;
    this.#failure = undefined;
    this.#begin();
  }

  /** A member that was reached through a Unix socket says where its HTTP listener has one. */
  #learnSocket({ grpcAddress }: MemberAddress, { members, httpSocket }: MemberList): void {
    if (socketPathOf(grpcAddress) === undefined) return;
    const listed = members.find(({ grpcAddr }) => grpcAddr === grpcAddress)?.httpAddr;
    const socket = httpSocket === undefined ? listed : socketAddressOf(httpSocket);
    const httpAddress = socket !== undefined && isListenerAddress(socket) ? socket : undefined;
    this.#endpoints = this.#endpoints.map((endpoint) => {
      if (endpoint.grpcAddress !== grpcAddress) return endpoint;
      return httpAddress === undefined ? { grpcAddress } : { grpcAddress, httpAddress };
    });
  }

  /** Alternates between the endpoints, in turn, and a random member, because any can be unreachable. */
  #nextAddress(failures: number): MemberAddress {
    const { members } = this;
    const { endpoints } = this.#options;
    if (members.length === 0) return { grpcAddress: endpoints[failures % endpoints.length]! };
    if (failures % 2 === 0) return { grpcAddress: endpoints[(failures / 2) % endpoints.length]! };
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
    const addresses = [...next.members, ...this.#endpoints];
    this.#options.breaker.keepOnly(new Set(addresses.map(({ grpcAddress }) => grpcAddress)));
    this.#options.connections.keepOnly(addresses);
  }
}

/** Describes why an endpoint did not answer. For example: "cannot connect to 10.0.0.7:8080: connection refused". */
function connectFailure(error: unknown): CacheError {
  if (!(error instanceof Unreachable)) return CacheError.from(error);
  const why = error.cause instanceof ConnectionFailure ? error.cause.message : error.message;
  return new CacheError("UNAVAILABLE", why, { cause: error });
}
