import { Readable } from "node:stream";
import { CacheError, checkRange, checkUrlBeginning, type MemberInfo, parseObjectUrl } from "@frontcache/proto";
import { LocalReads, type LocalReport } from "./local/local-reads.js";
import { tellOwners } from "./local/tell-owners.js";
import { type MemberDirectory, WatchedMembers } from "./member-directory.js";
import { CircuitBreaker } from "./members/circuit-breaker.js";
import { type Clock, systemClock } from "./members/clock.js";
import { connectMembers } from "./members/connect-members.js";
import { type FailoverOptions, inOrderOfReach, withFailover } from "./members/failover.js";
import type { Evicted, EvictSelector, MemberAddress, MemberConnections, ObjectStat } from "./members/ports.js";
import { RunningCall } from "./members/running-call.js";
import { PROBE_TIMEOUT_MS } from "./members/silence-watch.js";
import { type ClientMetrics, measuredBy, registeredMetrics } from "./metrics.js";
import {
  type CallOptions,
  type ClientOptions,
  type ConnectOptions,
  completeOptions,
  deadlineOf,
  memoryOf,
  type ReadOptions,
  type StreamOptions,
} from "./options.js";
import { type ByteStream, RangeStream } from "./range-stream.js";
import { type RangeWith, readRange } from "./read-range.js";
import type { WarmSummary } from "./warm-count.js";
import { type WarmOptions, type WarmTarget, warmObjects } from "./warming.js";

/** What a client works on; replaced in tests. */
export interface ClientPorts {
  readonly clock: Clock;
  readonly connections: MemberConnections;
  /** What reads are counted by; absent: nobody asks. */
  readonly metrics?: ClientMetrics | undefined;
}

/** The waits between tries of one block: six tries take one to two seconds in all, time enough for a member to come back. */
const RETRY_BACKOFF = { firstMs: 100, longestMs: 1_000 };
/** How long the circuit to an unreachable member stays open. */
const OPEN_FOR = { firstMs: 500, longestMs: 15_000 };
/**
 * For each member. One core of a member answers no more than this many at a time; connections beyond it would only share its time,
 * while 10,000 from all clients is what a member accepts.
 */
const MOST_CONNECTIONS = 32;
/** The waits before a broken watch of the members is begun again. */
const WATCH_BACKOFF = { firstMs: 100, longestMs: 5_000 };

/** Makes a client on other ports, for tests; it closes the connections with itself. `signal` aborts the connecting. */
export let clientOver: (options: ClientOptions, ports: ClientPorts, signal?: AbortSignal) => Promise<CacheClient>;

/** Reads objects through the cache. Made by `connect`; close it when done, it holds connections. */
export class CacheClient implements AsyncDisposable {
  static {
    clientOver = async (options, ports, signal) => {
      const { clock, connections } = ports;
      const { endpoint, connectTimeoutMs, deadlineMs } = options;
      const probe = async (grpcAddress: string, signal: AbortSignal): Promise<void> => {
        const call = new RunningCall({ clock, subject: "a probe", deadlineMs: connectTimeoutMs + PROBE_TIMEOUT_MS, signal });
        await connections.calls.probe({ grpcAddress }, call).finally(() => call.end());
      };
      const breaker = new CircuitBreaker({ clock, openFor: OPEN_FOR, probe });
      const call = new RunningCall({ clock, subject: `connecting to ${endpoint}`, deadlineMs, ...(signal && { signal }) });
      try {
        const members = await WatchedMembers.start({ endpoint, clock, connections, breaker, backoff: WATCH_BACKOFF }, call);
        return new CacheClient(options, ports, members, breaker);
      } catch (error) {
        await breaker.close();
        await connections.close();
        throw error;
      } finally {
        call.end();
      }
    };
  }

  readonly #options: ClientOptions;
  readonly #ports: ClientPorts;
  readonly #members: MemberDirectory;
  readonly #breaker: CircuitBreaker;
  readonly #failover: FailoverOptions;
  readonly #rangeWith: RangeWith;
  readonly #local: LocalReads | undefined;
  readonly #running = new Map<RunningCall, Promise<unknown>>();
  #closed: Promise<void> | undefined;

  private constructor(options: ClientOptions, ports: ClientPorts, members: MemberDirectory, breaker: CircuitBreaker) {
    this.#options = options;
    this.#ports = ports;
    this.#members = members;
    this.#breaker = breaker;
    const { metrics } = ports;
    const onRepeat = metrics && ((wasUnreachable: boolean): void => metrics.failover(wasUnreachable));
    this.#failover = { clock: ports.clock, breaker, attempts: options.attempts, backoff: RETRY_BACKOFF, onRepeat };
    const { parallelBlocks, localVolumes: volumes } = options;
    const { connections, clock } = ports;
    const tell = tellOwners(connections.calls, members, clock);
    this.#local = volumes.length === 0 ? undefined : new LocalReads({ clock, volumes, tell });
    this.#rangeWith = {
      blocks: connections.blocks,
      owners: members,
      failover: this.#failover,
      local: this.#local,
      metrics,
      parallelBlocks,
    };
  }

  /**
   * Connects to any member, or to the Service in front of them, and learns the others from it. Rejects with UNAVAILABLE when
   * nobody answers there, INVALID_ARGUMENT for options that can't be used, CANCELLED when `signal` is aborted.
   */
  static async connect(options: ConnectOptions): Promise<CacheClient> {
    const complete = completeOptions(options);
    const metrics = registeredMetrics();
    const { access, connectTimeoutMs, transport } = complete;
    const measured = metrics === undefined ? undefined : measuredBy(metrics);
    const ways = { clock: systemClock, access, connectTimeoutMs, transport, mostConnections: MOST_CONNECTIONS, measured };
    return clientOver(complete, { clock: systemClock, connections: connectMembers(ways), metrics }, options.signal);
  }

  /**
   * The bytes of `[offset, offset + length)`: exactly `length`, or fewer where the object ends; 0 of them without asking
   * anybody. All are of one version: the given one (S3: the ETag without quotes; GCS: the generation) or else the current one.
   * Rejects with OUT_OF_RANGE when the object ends before `offset`, FAILED_PRECONDITION when it is not of that version.
   */
  async readRange(url: string, offset: number, length: number, version = "", options: ReadOptions = {}): Promise<Buffer> {
    parseObjectUrl(url);
    checkRange(url, offset, length);
    const memory = memoryOf(url, length, options);
    if (length === 0) return Buffer.alloc(0);
    const range = { url, offset, length, version, memory };
    const reading = this.#run(url, options, (call) => readRange(range, this.#rangeWith, call));
    // Awaited here, so that the caller is part of the stack that `withCaller` adds.
    return await (this.#ports.metrics === undefined ? reading : this.#timed(reading, this.#ports.metrics));
  }

  /**
   * The same bytes as a Readable, which is an async iterable too; without a length, up to the object's end (of an empty
   * object: none). Destroying it, or leaving the loop over it, stops the reads. The deadline is of each block's read, since a
   * stream lasts as long as its reader likes. Throws INVALID_ARGUMENT at once; other errors destroy the stream.
   */
  stream(url: string, offset = 0, length?: number, version = "", options: StreamOptions = {}): ByteStream {
    parseObjectUrl(url);
    checkRange(url, offset, length ?? 0);
    if (length === 0) return Readable.from([]) as ByteStream;
    const { streamBlocks } = this.#options;
    const deadlineMs = deadlineOf(options, this.#options);
    const call = this.#begin(url, options);
    const using = { ...this.#rangeWith, streamBlocks, deadlineMs, reuse: options.reuse === true };
    const stream = new RangeStream({ url, offset, length, version }, using, call);
    const closed = new Promise<void>((resolve) => {
      const begunMs = this.#ports.clock.monotonicMs();
      stream.once("close", () => {
        this.#ports.metrics?.read("stream", this.#ports.clock.monotonicMs() - begunMs, stream.errored ?? undefined);
        this.#running.delete(call);
        resolve();
      });
    });
    this.#running.set(call, closed);
    return stream;
  }

  /** What the block's owner knows of an object, without its bytes. */
  async stat(url: string, version = "", options: CallOptions = {}): Promise<ObjectStat> {
    parseObjectUrl(url);
    return await this.#run(url, options, (call) =>
      this.#anywhere(url, call, (address) => this.#ports.connections.calls.stat(address, { url, version }, call)),
    );
  }

  /**
   * Has whole objects, named or all under a prefix, fetched before anybody reads them, each block once and by its owner, behind all reads; what is held
   * already is not fetched. Resolves when all have been tried, with what was done and which of them failed, why. It has no
   * deadline. Rejects with INVALID_ARGUMENT for what is no URL, UNAVAILABLE where no member can be reached.
   */
  async warm(targets: Iterable<WarmTarget> | AsyncIterable<WarmTarget>, options: WarmOptions = {}): Promise<WarmSummary> {
    const using = { calls: this.#ports.connections.calls, owners: this.#members, failover: this.#failover };
    return this.#track(this.#begin("warming", options), (call) => warmObjects(targets, options, using, call));
  }

  /** Drops the blocks of one object, or of all whose URLs begin with a prefix, from all members; `version` absent: of all versions. */
  async evict(selector: EvictSelector, options: CallOptions = {}): Promise<Evicted> {
    const subject = "prefix" in selector ? checkUrlBeginning(selector.prefix) : parseObjectUrl(selector.url).url;
    return this.#run(subject, options, (call) =>
      this.#anywhere(subject, call, (address) => this.#ports.connections.calls.evict(address, selector, call)),
    );
  }

  /** The members as the client knows them, by name; none when the endpoint does not tell. */
  members(): readonly MemberInfo[] {
    return this.#members.members;
  }

  /** What was read from block files of `localVolumes`, without a socket; all 0 where there are none. */
  localReads(): LocalReport {
    return this.#local?.report ?? { reads: 0, bytes: 0, openFiles: 0 };
  }

  /** Ends everything that runs, with CANCELLED, and all connections; resolves when nothing is left. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #timed(reading: Promise<Buffer>, metrics: ClientMetrics): Promise<Buffer> {
    const { clock } = this.#ports;
    const begunMs = clock.monotonicMs();
    try {
      const bytes = await reading;
      metrics.read("range", clock.monotonicMs() - begunMs);
      return bytes;
    } catch (error) {
      metrics.read("range", clock.monotonicMs() - begunMs, error);
      throw error;
    }
  }

  /** Asks the members that answer for an object's beginning, in turn. */
  #anywhere<Result>(url: string, call: RunningCall, at: (address: MemberAddress) => Promise<Result>): Promise<Result> {
    const addresses = inOrderOfReach(this.#members.addressesOf(url, 0), this.#breaker);
    return withFailover({ addresses, at }, call, this.#failover);
  }

  #begin(subject: string, { signal }: CallOptions, deadlineMs?: number): RunningCall {
    if (this.#closed !== undefined) throw new CacheError("CANCELLED", `${subject}: the client is closed`);
    const ends = { ...(signal === undefined ? {} : { signal }), ...(deadlineMs === undefined ? {} : { deadlineMs }) };
    return new RunningCall({ clock: this.#ports.clock, subject, ...ends });
  }

  #run<Result>(subject: string, options: CallOptions, work: (call: RunningCall) => Promise<Result>): Promise<Result> {
    return this.#track(this.#begin(subject, options, deadlineOf(options, this.#options)), work);
  }

  async #track<Result>(call: RunningCall, work: (call: RunningCall) => Promise<Result>): Promise<Result> {
    const working = work(call);
    this.#running.set(call, working);
    try {
      return await working;
    } catch (error) {
      throw withCaller(error);
    } finally {
      call.end();
      this.#running.delete(call);
    }
  }

  async #close(): Promise<void> {
    const running = [...this.#running];
    for (const [call] of running) call.abort(new CacheError("CANCELLED", "the client was closed"));
    await Promise.allSettled(running.map(([, done]) => done));
    await this.#local?.close();
    await Promise.all([this.#members.close(), this.#breaker.close()]);
    await this.#ports.connections.close();
  }
}

/** Errors whose stacks have the caller's frames. */
const traced = new WeakSet<object>();

/**
 * Adds the frames of who awaits the call to the stack of its error, which was created when the answer arrived and has none of
 * them. Costs nothing while calls succeed: V8 finds the awaiting functions when the stack is captured.
 */
function withCaller(error: unknown): unknown {
  if (!(error instanceof CacheError) || traced.has(error)) return error;
  traced.add(error);
  const frames = new Error("the call").stack?.split("\n").slice(2) ?? [];
  error.stack = [error.stack ?? `${error.name}: ${error.message}`, ...frames].join("\n");
  return error;
}
