import {
  type CallLimits,
  CircuitBreaker,
  type Clock,
  type MemberAddress,
  type MemberConnections,
  RunningCall,
  withFailover,
} from "@frontcache/client/members";
import type { CacheError, MemberInfo } from "@frontcache/proto";
import type { Backoff } from "@frontcache/proto/runtime";
import { RecentCallers } from "../security/recent-callers.js";
import { AnswerTime } from "./answer-time.js";
import { MemberReads } from "./member-read.js";
import type { MemberView } from "./member-view.js";
import { PeerHits } from "./peer-hits.js";
import type { Pipes } from "./pipes.js";

export interface OtherMembersOptions {
  readonly self: MemberInfo;
  readonly view: MemberView;
  readonly connections: MemberConnections;
  readonly clock: Clock;
  /** Time in which a member must accept a connection or answer; then it is unreachable. Absent: 1 s. */
  readonly timeoutMs?: number | undefined;
  /** For whom other members are asked, if principals have origin credentials of their own. Absent: for nobody in particular. */
  readonly callers?: RecentCallers | undefined;
  /** Called with the error when a member becomes unreachable, and without one when it answers again. Absent: nothing is called. */
  readonly onReachable?: ((member: MemberInfo, failure: CacheError | undefined) => void) | undefined;
  /** Pipes for forwarded bytes. Absent: all bytes pass through memory. */
  readonly pipes?: Pipes | undefined;
}

/** The members that may answer a request. */
export interface Route {
  /** Other members to ask, in this order, until one can be reached. Empty: this member answers. */
  readonly others: readonly MemberInfo[];
  /** Whether this member is the next on the ring if none of the others can be reached. */
  readonly thenHere: boolean;
}

const HERE: Route = { others: [], thenHere: true };

/** Other members that are asked: the owner, and the next one on the ring. Nobody looks for a block at further ones. */
const MOST_OTHERS = 2;
/** How often an unreachable member is probed, with calls and without: members that do not find each other disagree about objects. */
const OPEN_FOR: Backoff = { firstMs: 250, longestMs: 2_000 };
/** Longest duration of a probe over `timeoutMs`: it connects, and waits for the answer. */
const PROBE_FACTOR = 2.5;

/** The other members: chooses which of them to ask, and knows which are reachable. */
export class OtherMembers {
  readonly self: MemberInfo;
  readonly view: MemberView;
  readonly connections: MemberConnections;
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly reads: MemberReads;
  /** For whom other members are asked. */
  readonly callers: RecentCallers;
  /** By gRPC address. */
  readonly breaker: CircuitBreaker;
  readonly #answerTimes = new Map<string, AnswerTime>();
  readonly #peerHits = new Map<string, PeerHits>();

  constructor({
    self,
    view,
    connections,
    clock,
    timeoutMs = 1_000,
    callers = new RecentCallers(),
    onReachable,
    pipes,
  }: OtherMembersOptions) {
    this.self = self;
    this.view = view;
    this.connections = connections;
    this.clock = clock;
    this.timeoutMs = timeoutMs;
    this.reads = new MemberReads(clock, callers, pipes);
    this.callers = callers;
    const memberAt = (grpcAddress: string) => view.known().find((known) => known.grpcAddress === grpcAddress);
    const onChange = (grpcAddress: string, failure: CacheError | undefined): void => {
      const member = memberAt(grpcAddress);
      if (member !== undefined) onReachable?.(member, failure);
    };
    const probe = (grpcAddress: string, signal: AbortSignal): Promise<void> => this.#probe(grpcAddress, signal);
    // A call may fail after its member has left the list.
    const isWatched = (grpcAddress: string): boolean => memberAt(grpcAddress) !== undefined;
    this.breaker = new CircuitBreaker({ clock, openFor: OPEN_FOR, isWatched, probe, onChange });
  }

  /**
   * The one function that decides where something that concerns an object is done: reads of a block at the block's owner; what
   * needs the object's record (stat, HEAD, conditions, suffix ranges) at the object's home, the owner of its block 0. If the
   * owner is unreachable: at the next member on the ring. Forwarded requests are answered here, so that nothing is forwarded
   * twice; members that disagree about the ring fill a block twice at worst.
   */
  route(url: string, blockOffset: number, forwarded: boolean): Route {
    const { current } = this.view;
    if (forwarded) return HERE;
    const owner = current.owner(url, blockOffset);
    if (owner === undefined || owner.name === this.self.name) return HERE;
    const others: MemberInfo[] = [];
    for (const member of current.owners(url, blockOffset)) {
      if (member.name === this.self.name) return { others, thenHere: true };
      if (this.breaker.isOpen(member.grpcAddress)) continue;
      if (others.length === MOST_OTHERS) break;
      others.push(member);
    }
    return { others, thenHere: false };
  }

  /** Calls the first of these members that can be reached. Rejects with Unreachable if none can. */
  first<Result>(others: readonly MemberInfo[], at: (member: MemberInfo) => Promise<Result>, limits: CallLimits): Promise<Result> {
    const { clock, breaker } = this;
    const attempt = { addresses: others, at: (address: MemberAddress) => at(address as MemberInfo) };
    return withFailover(attempt, limits, { clock, breaker, attempts: others.length, backoff: undefined });
  }

  /** The member has called this one: its circuit closes. */
  heardOf({ grpcAddress }: MemberInfo): void {
    this.breaker.succeeded(grpcAddress);
  }

  /** When a probe of a member succeeded last since it became unreachable, monotonic milliseconds; -Infinity: none has. */
  answeredAtMs({ grpcAddress }: MemberInfo): number {
    return this.breaker.answeredAtMs(grpcAddress);
  }

  /** How long fills wait for a member. */
  answerTime({ grpcAddress }: MemberInfo): AnswerTime {
    let answerTime = this.#answerTimes.get(grpcAddress);
    if (answerTime === undefined) {
      answerTime = new AnswerTime(this.clock, this.timeoutMs);
      this.#answerTimes.set(grpcAddress, answerTime);
    }
    return answerTime;
  }

  /** Decides whether fills ask a member. Forgotten when the member list changes. */
  peerHits({ grpcAddress }: MemberInfo): PeerHits {
    let peerHits = this.#peerHits.get(grpcAddress);
    if (peerHits === undefined) {
      peerHits = new PeerHits();
      this.#peerHits.set(grpcAddress, peerHits);
    }
    return peerHits;
  }

  /** A call on behalf of a request; `end` must be called. */
  call(subject: string, signal: AbortSignal, deadlineMs?: number): RunningCall {
    return new RunningCall({ clock: this.clock, subject, signal, ...(deadlineMs !== undefined && { deadlineMs }) });
  }

  /** Closes the connections to members that are not asked any more. Call it when the member list has changed. */
  update(): void {
    const known = this.view.known();
    const addresses = new Set(known.map(({ grpcAddress }) => grpcAddress));
    this.breaker.keepOnly(addresses);
    this.connections.keepOnly(known);
    this.#peerHits.clear();
    for (const address of this.#answerTimes.keys()) if (!addresses.has(address)) this.#answerTimes.delete(address);
  }

  async close(): Promise<void> {
    await this.breaker.close();
    await this.connections.close();
    this.reads.pipes?.close();
  }

  async #probe(grpcAddress: string, signal: AbortSignal): Promise<void> {
    const call = this.call(`a probe of ${grpcAddress}`, signal, PROBE_FACTOR * this.timeoutMs);
    await this.connections.calls.probe({ grpcAddress }, call).finally(() => call.end());
  }
}
