import { Readable } from "node:stream";
import { CacheError, checkRange, checkUrlBeginning, type MemberInfo, parseObjectUrl } from "@frontcache/proto";
import { LocalReads, type LocalReport } from "./local/local-reads.js";
import { tellOwners } from "./local/tell-owners.js";
import { makeTransport } from "./make-transport.js";
import { type MemberDirectory, WatchedMembers } from "./member-directory.js";
import { Reach } from "./members/circuit-breaker.js";
import { type Clock, systemClock } from "./members/clock.js";
import { type FailoverOptions, withFailover } from "./members/failover.js";
import { RunningCall } from "./members/running-call.js";
import type { Evicted, EvictSelector, MemberAddress, ObjectStat, Transport } from "./members/transport.js";
import { type ClientMetrics, registeredMetrics } from "./metrics.js";
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
import { RangeStream } from "./range-stream.js";
import { type RangeWith, readRange } from "./read-range.js";
import type { WarmSummary } from "./warm-count.js";
import { type WarmOptions, type WarmTarget, warmObjects } from "./warming.js";

/** What a client works on; replaced in tests. */
export interface ClientPorts {
  readonly clock: Clock;
  readonly transport: Transport;
  /** What reads are counted by; absent: nobody asks. */
  readonly metrics?: ClientMetrics | undefined;
}

/** The waits between tries of one block: six tries take one to two seconds in all, time enough for a member to come back. */
const RETRY_BACKOFF = { firstMs: 100, longestMs: 1_000 };
/** How long a member out of reach is left aside. */
const ASIDE = { firstMs: 500, longestMs: 15_000 };
/** The waits before a broken watch of the members is begun again. */
const WATCH_BACKOFF = { firstMs: 100, longestMs: 5_000 };

/** Reads objects through the cache. Made by `connect`; close it when done, it holds connections. */
export class CacheClient implements AsyncDisposable {
  readonly #options: ClientOptions;
  readonly #ports: ClientPorts;
  readonly #members: MemberDirectory;
  readonly #reach: Reach;
  readonly #failover: FailoverOptions;
  readonly #rangeWith: RangeWith;
  readonly #local: LocalReads | undefined;
  readonly #running = new Map<RunningCall, Promise<unknown>>();
  #closed: Promise<void> | undefined;

  private constructor(options: ClientOptions, ports: ClientPorts, members: MemberDirectory, reach: Reach) {
    this.#options = options;
    this.#ports = ports;
    this.#members = members;
    this.#reach = reach;
    const { metrics } = ports;
    const onRepeat = metrics && ((wasOutOfReach: boolean): void => metrics.failover(wasOutOfReach));
    this.#failover = { clock: ports.clock, reach, attempts: options.attempts, backoff: RETRY_BACKOFF, onRepeat };
    const { parallelBlocks, localVolumes: volumes } = options;
    const { transport, clock } = ports;
    const tell = tellOwners(transport, members, clock);
    this.#local = volumes.length === 0 ? undefined : new LocalReads({ clock, volumes, tell });
    this.#rangeWith = { transport, owners: members, failover: this.#failover, local: this.#local, metrics, parallelBlocks };
  }

  /**
   * Connects to any member, or to the Service in front of them, and learns the others from it. Rejects with UNAVAILABLE when
   * nobody answers there, INVALID_ARGUMENT for options that can't be used, CANCELLED when `signal` is aborted.
   */
  static async connect(options: ConnectOptions): Promise<CacheClient> {
    const complete = completeOptions(options);
    const metrics = registeredMetrics();
    const transport = makeTransport(complete, systemClock, metrics);
    return CacheClient.over(complete, { clock: systemClock, transport, metrics }, options.signal);
  }

  /** A client on other ports; it closes the transport with itself. `signal` ends the connecting. */
  static async over(options: ClientOptions, ports: ClientPorts, signal?: AbortSignal): Promise<CacheClient> {
    const { clock, transport } = ports;
    const { endpoint, connectTimeoutMs, deadlineMs } = options;
    const probe = async (address: MemberAddress, signal: AbortSignal): Promise<void> => {
      const call = new RunningCall({ clock, subject: "a probe", deadlineMs: connectTimeoutMs, signal });
      await transport.probe(address, call).finally(() => call.end());
    };
    const reach = new Reach({ clock, asideFor: ASIDE, probe });
    const call = new RunningCall({ clock, subject: `connecting to ${endpoint}`, deadlineMs, ...(signal && { signal }) });
    try {
      const members = await WatchedMembers.start({ endpoint, clock, transport, reach, backoff: WATCH_BACKOFF }, call);
      return new CacheClient(options, ports, members, reach);
    } catch (error) {
      await transport.close();
      throw error;
    } finally {
      call.end();
    }
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
    return this.#ports.metrics === undefined ? reading : this.#timed(reading, this.#ports.metrics);
  }

  /**
   * The same bytes as a Readable, which is an async iterable too; without a length, up to the object's end (of an empty
   * object: none). Destroying it, or leaving the loop over it, stops the reads. The deadline is of each block's read, since a
   * stream lasts as long as its reader likes. Throws INVALID_ARGUMENT at once; other errors destroy the stream.
   */
  stream(url: string, offset = 0, length?: number, version = "", options: StreamOptions = {}): Readable {
    parseObjectUrl(url);
    checkRange(url, offset, length ?? 0);
    if (length === 0) return Readable.from([]);
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
    return this.#run(url, options, (call) =>
      this.#anywhere(url, call, (address) => this.#ports.transport.stat(address, url, version, call)),
    );
  }

  /**
   * Has whole objects, named or all under a prefix, fetched before anybody reads them, each block once and by its owner, behind all reads; what is held
   * already is not fetched. Resolves when all have been tried, with what was done and which of them failed, why. It has no
   * deadline. Rejects with INVALID_ARGUMENT for what is no URL, UNAVAILABLE where no member can be reached.
   */
  async warm(targets: Iterable<WarmTarget> | AsyncIterable<WarmTarget>, options: WarmOptions = {}): Promise<WarmSummary> {
    const using = { transport: this.#ports.transport, owners: this.#members, failover: this.#failover };
    return this.#track(this.#begin("warming", options), (call) => warmObjects(targets, options, using, call));
  }

  /** Drops the blocks of one object, or of all whose URLs begin with a prefix, from all members; `version` absent: of all versions. */
  async evict(selector: EvictSelector, options: CallOptions = {}): Promise<Evicted> {
    const subject = "prefix" in selector ? checkUrlBeginning(selector.prefix) : parseObjectUrl(selector.url).url;
    return this.#run(subject, options, (call) =>
      this.#anywhere(subject, call, (address) => this.#ports.transport.evict(address, selector, call)),
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
    return withFailover({ addresses: this.#members.addressesOf(url, 0), at }, call, this.#failover);
  }

  #begin(subject: string, { signal }: CallOptions, deadlineMs?: number): RunningCall {
    if (this.#closed !== undefined) throw new CacheError("CANCELLED", `${subject}: the client is closed`);
    const ends = { ...(signal === undefined ? {} : { signal }), ...(deadlineMs === undefined ? {} : { deadlineMs }) };
    return new RunningCall({ clock: this.#ports.clock, subject, ...ends });
  }

  #run<Result>(subject: string, options: CallOptions, work: (call: RunningCall) => Promise<Result>): Promise<Result> {
    return this.#track(this.#begin(subject, options, deadlineOf(options, this.#options)), work);
  }

  #track<Result>(call: RunningCall, work: (call: RunningCall) => Promise<Result>): Promise<Result> {
    const done = work(call).finally(() => {
      call.end();
      this.#running.delete(call);
    });
    this.#running.set(call, done);
    return done;
  }

  async #close(): Promise<void> {
    const running = [...this.#running];
    for (const [call] of running) call.abort(new CacheError("CANCELLED", "the client was closed"));
    await Promise.allSettled(running.map(([, done]) => done));
    await this.#local?.close();
    await Promise.all([this.#members.close(), this.#reach.close()]);
    await this.#ports.transport.close();
  }
}
