import { CacheError, type ValueInfo, valueBlock } from "@frontcache/proto";
import type { LogEntry } from "./client-log.js";
import { Fallback } from "./fallback/fallback.js";
import { LocalReads } from "./local/local-reads.js";
import { reportUses } from "./local/report-uses.js";
import { WatchedMembers } from "./member-directory.js";
import { CircuitBreaker } from "./members/circuit-breaker.js";
import { type Clock, systemClock } from "./members/clock.js";
import { connectMembers } from "./members/connect-members.js";
import { type FailoverOptions, orderByAvailability, withFailover } from "./members/failover.js";
import { httpValues } from "./members/http/http-values.js";
import { HttpObjectRequests, type ObjectRequests } from "./members/http/object-requests.js";
import type { CallLimits, MemberAddress, MemberConnections, ObjectStat } from "./members/ports.js";
import { RunningCall } from "./members/running-call.js";
import { silentMsOf } from "./members/silence-watch.js";
import { httpFirstValues, type ValueTransport } from "./members/value-transport.js";
import { type ClientMetrics, measuredBy, registeredMetrics } from "./metrics.js";
import type { ClientOptions } from "./options.js";
import type { RangeWith } from "./read-range.js";
import { type ClientTraces, registeredTraces } from "./tracing.js";
import type { AskValuesWith } from "./values/ask-values.js";
import type { SendWith } from "./writing/sending.js";

/** The ports of a client; tests replace them. */
export interface ClientPorts {
  readonly clock: Clock;
  readonly connections: MemberConnections;
  /** Writes and listings. */
  readonly requests: ObjectRequests;
  /** Requests about values; absent: by `requests`. */
  readonly values?: ValueTransport | undefined;
  /** The metrics of reads; absent: reads are not measured. */
  readonly metrics?: ClientMetrics | undefined;
  /** The spans of calls; absent: calls are not traced. */
  readonly traces?: ClientTraces | undefined;
}

/** Delays between attempts to read one block: six attempts take one to two seconds in total, enough for a member to restart. */
const RETRY_BACKOFF = { firstMs: 100, longestMs: 1_000 };
/** Time that the circuit to an unreachable member stays open. */
const OPEN_FOR = { firstMs: 500, longestMs: 15_000 };
/** The same if object stores answer meanwhile: reads return to the cache within five seconds. */
const OPEN_WITH_FALLBACK_FOR = { firstMs: 500, longestMs: 2_000 };
/**
 * Maximum connections to one member. One core of a member answers no more requests than this concurrently. More connections would
 * not be faster, and a member accepts only 10,000 from all clients.
 */
const MOST_CONNECTIONS = 32;
/** The same for writes and listings, whose bodies are long. */
const MOST_WRITING_CONNECTIONS = 16;
/** Shorter than the idle timeouts of members (75 s) and load balancers (60 s). */
const IDLE_MS = 45_000;
/** Delays before a broken watch of the member list is restarted. */
const WATCH_BACKOFF = { firstMs: 100, longestMs: 5_000 };

/** Returns the ports of a process: sockets, the system's clock, and the application's OpenTelemetry SDK if it has registered one. */
export function systemPorts({ access, connectTimeoutMs, transport }: ClientOptions): ClientPorts {
  const metrics = registeredMetrics();
  const measured = metrics && measuredBy(metrics);
  const common = { clock: systemClock, access, connectTimeoutMs };
  const connections = connectMembers({ ...common, transport, mostConnections: MOST_CONNECTIONS, measured });
  const requests = new HttpObjectRequests({ ...common, mostConnections: MOST_WRITING_CONNECTIONS, idleMs: IDLE_MS });
  const [byHttp, byGrpc] = [httpValues(requests), connections.grpcValues];
  return {
    clock: systemClock,
    connections,
    requests,
    values: transport === "grpc" ? byGrpc : transport === "http" ? byHttp : httpFirstValues(byHttp, byGrpc),
    metrics,
    traces: registeredTraces(),
  };
}

/** The members that a client is connected to, and the ways of asking them. */
export class ConnectedMembers {
  /** The member list. */
  readonly list: WatchedMembers;
  readonly failover: FailoverOptions;
  /** The collaborators of reads. */
  readonly rangeWith: RangeWith;
  /** The collaborators of writes and listings. */
  readonly sendWith: SendWith;
  /** The collaborators of requests about values. */
  readonly valuesWith: AskValuesWith;
  readonly local: LocalReads | undefined;
  readonly fallback: Fallback | undefined;
  readonly #ports: ClientPorts;
  readonly #breaker: CircuitBreaker;

  /** Starts to connect. */
  private constructor(options: ClientOptions, ports: ClientPorts) {
    const { clock, connections, requests, values, metrics } = ports;
    const { endpoints, parallelBlocks, localVolumes: volumes, fallback, log, attempts } = options;
    this.#ports = ports;
    const breaker = circuitBreaker(options, ports);
    this.#breaker = breaker;
    this.list = new WatchedMembers({ endpoints, clock, connections, breaker, backoff: WATCH_BACKOFF });
    const onRepeat = metrics && ((wasUnreachable: boolean): void => metrics.failover(wasUnreachable));
    const isReplaceable = fallback !== undefined;
    this.failover = { clock, breaker, attempts, backoff: RETRY_BACKOFF, isReplaceable, onRepeat };
    this.fallback = fallback && new Fallback({ options: fallback, breaker, metrics, log });
    const notReplaced = { ...this.failover, isReplaceable: false };
    this.sendWith = { requests, owners: this.list, failover: notReplaced };
    this.valuesWith = { transport: values ?? httpValues(requests), owners: this.list, failover: notReplaced };
    const report = reportUses(connections.calls, this.list, clock);
    this.local = volumes.length === 0 ? undefined : new LocalReads({ clock, volumes, verification: "first-read", report });
    this.rangeWith = {
      blocks: connections.blocks,
      owners: this.list,
      failover: this.failover,
      local: this.local,
      fallback: this.fallback,
      metrics,
      parallelBlocks,
    };
  }

  /** Resolves when a member has answered; with `lazy` at once. `signal` aborts the waiting. Closes everything if it rejects. */
  static async connect(options: ClientOptions, ports: ClientPorts, signal?: AbortSignal): Promise<ConnectedMembers> {
    const { endpoints, deadlineMs, lazy } = options;
    const subject = `connecting to ${endpoints.join(", ")}`;
    const call = new RunningCall({ clock: ports.clock, subject, deadlineMs, signal });
    const connected = new ConnectedMembers(options, ports);
    try {
      if (!lazy) await connected.#firstAnswer(call);
      return connected;
    } catch (error) {
      await connected.close();
      throw error;
    } finally {
      call.end();
    }
  }

  /** Waits for the first answer of a member. If object stores can answer, only for the first failure. */
  async ready(call: CallLimits): Promise<void> {
    if (this.fallback === undefined) await this.list.ready(call);
    else await this.#firstAnswer(call);
  }

  /** Asks the owner of an object's first block; if that fails, the next members on the ring. */
  ask<Result>(url: string, call: RunningCall, at: (address: MemberAddress) => Promise<Result>): Promise<Result> {
    const addresses = orderByAvailability(this.list.addressesOf(url, 0), this.#breaker);
    return withFailover({ addresses, at }, call, this.failover);
  }

  /** Asks for an object's metadata, and for a lease of it if `lease` is set; if no member answers, the object store. */
  async stat(url: string, version: string, call: RunningCall, lease = false): Promise<ObjectStat> {
    const { calls } = this.#ports.connections;
    const atMembers = (): Promise<ObjectStat> =>
      this.ask(url, call, (address) => calls.stat(address, { url, version, lease }, call));
    if (this.fallback === undefined) return await atMembers();
    const info = await this.fallback.stat(url, version, this.list.addressesOf(url, 0), call, atMembers);
    return "cachedBytes" in info ? info : { ...info, cachedBytes: 0 };
  }

  /** Returns the path of a file on this host that begins with the bytes of a value of one block. Undefined: no such file. */
  async fileOf({ url, version, size }: ValueInfo): Promise<string | undefined> {
    const { geometry } = this.list;
    if (this.local === undefined || size === 0 || size > geometry.blockBytes) return undefined;
    return await this.local.pathOf(valueBlock(url, version, 0), size, geometry);
  }

  /** Closes all connections; resolves when all are closed. */
  async close(): Promise<void> {
    await this.local?.close();
    await Promise.all([this.list.close(), this.#breaker.close()]);
    await this.#ports.connections.close();
    await this.#ports.requests.close();
  }

  /** Resolves if a member has answered, or if object stores can answer in place of unreachable members. */
  async #firstAnswer(call: CallLimits): Promise<void> {
    try {
      await this.list.connected(call);
    } catch (error) {
      const isReplaced = this.fallback !== undefined && call.ended === undefined;
      if (!isReplaced || CacheError.from(error).code !== "UNAVAILABLE") throw error;
    }
  }
}

function circuitBreaker({ connectTimeoutMs, fallback, log }: ClientOptions, { clock, connections }: ClientPorts): CircuitBreaker {
  const probe = async (grpcAddress: string, signal: AbortSignal): Promise<void> => {
    const deadlineMs = connectTimeoutMs + silentMsOf(connectTimeoutMs);
    const call = new RunningCall({ clock, subject: "a probe", deadlineMs, signal });
    await connections.calls.probe({ grpcAddress }, call).finally(() => call.end());
  };
  const openFor = fallback === undefined ? OPEN_FOR : OPEN_WITH_FALLBACK_FOR;
  const onChange = log && ((address: string, failure: CacheError | undefined): void => log(availabilityEntry(address, failure)));
  return new CircuitBreaker({ clock, openFor, probe, onChange });
}

function availabilityEntry(address: string, failure: CacheError | undefined): LogEntry {
  return failure === undefined
    ? { level: "info", event: "member-reachable", message: `the member at ${address} answers again` }
    : { level: "warn", event: "member-unreachable", message: `the member at ${address} does not answer: ${failure.message}` };
}
