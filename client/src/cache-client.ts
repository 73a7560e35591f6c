import { Readable } from "node:stream";
import { CacheError, checkRange, checkUrlBeginning, headerPairs, type MemberInfo, parseObjectUrl } from "@frontcache/proto";
import type { LogEntry } from "./client-log.js";
import { Fallback, type FallbackReport } from "./fallback/fallback.js";
import { LocalReads, type LocalReport } from "./local/local-reads.js";
import { reportUses } from "./local/report-uses.js";
import { WatchedMembers } from "./member-directory.js";
import { CircuitBreaker } from "./members/circuit-breaker.js";
import { type Clock, systemClock } from "./members/clock.js";
import { connectMembers } from "./members/connect-members.js";
import { type FailoverOptions, orderByAvailability, withFailover } from "./members/failover.js";
import { HttpObjectRequests, type ObjectRequests } from "./members/http/object-requests.js";
import type {
  CallLimits,
  Evicted,
  EvictSelector,
  MemberAddress,
  MemberConnections,
  ObjectStat as MemberStat,
} from "./members/ports.js";
import { RunningCall } from "./members/running-call.js";
import { silentMsOf } from "./members/silence-watch.js";
import { type ClientMetrics, measuredBy, registeredMetrics } from "./metrics.js";
import { NearCache, type NearReport } from "./near/near-cache.js";
import { ObjectFile } from "./object-file.js";
import { type ObjectReads, type Range, readCurrent, readObject, readRanges, readSuffix } from "./object-reads.js";
import {
  CALL_OPTIONS,
  type CallOptions,
  type ClientOptions,
  type ConnectOptions,
  checkOptions,
  completeOptions,
  deadlineOf,
  memoryOf,
  READ_OPTIONS,
  type ReadOptions,
  STREAM_OPTIONS,
  type StreamOptions,
  unquoted,
} from "./options.js";
import { type ByteStream, RangeStream, webStreamOf } from "./range-stream.js";
import { type RangeWith, type RequestedRange, readRange } from "./read-range.js";
import { RunningCalls } from "./running-calls.js";
import type { WarmSummary } from "./warm-count.js";
import { type WarmOptions, type WarmTarget, warmObjects } from "./warming.js";
import { COPY_OPTIONS, type CopyOptions, copyObject } from "./writing/copy-object.js";
import { type DeleteSummary, deleteObject, deleteObjects } from "./writing/delete-objects.js";
import { LIST_OPTIONS, type ListedObject, type ListedPrefix, type ListOptions, listPage } from "./writing/list-objects.js";
import { type Written, within } from "./writing/multipart.js";
import { PUT_OPTIONS, type PutOptions, putObject } from "./writing/put-object.js";
import type { PutBody } from "./writing/put-source.js";
import type { SendWith } from "./writing/sending.js";

/** A read, for `read`. */
export interface ReadRequest extends ReadOptions {
  readonly url: string;
  /** `[offset, length]` in bytes; a negative offset counts from the object's end. Default: the whole object. */
  readonly range?: Range | undefined;
  /** S3: the ETag, with or without quotes; GCS: the generation. Default: the current version. */
  readonly version?: string | undefined;
}

/** What the cluster knows of an object. */
export interface ObjectStat extends Omit<MemberStat, "headers" | "lacks"> {
  /**
   * Further headers that the object store returns for the object, for example `content-encoding` or `x-amz-meta-owner`. Names are
   * in lower case.
   */
  readonly headers: Readonly<Record<string, string>>;
}

/** The ports of a client; tests replace them. */
export interface ClientPorts {
  readonly clock: Clock;
  readonly connections: MemberConnections;
  /** Writes and listings. */
  readonly requests: ObjectRequests;
  /** The metrics of reads; absent: reads are not measured. */
  readonly metrics?: ClientMetrics | undefined;
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

/** Creates a client with other ports, for tests. The client closes its connections. `signal` aborts the initial connect. */
export let clientOver: (options: ClientOptions, ports: ClientPorts, signal?: AbortSignal) => Promise<CacheClient>;

/** Reads objects through the cache. Create one with `connect`, and close it when done: it keeps connections open. */
export class CacheClient implements AsyncDisposable {
  static {
    clientOver = async (options, ports, signal) => {
      const { clock, connections } = ports;
      const { endpoints, connectTimeoutMs, deadlineMs, fallback, log } = options;
      const probe = async (grpcAddress: string, signal: AbortSignal): Promise<void> => {
        const probeMs = connectTimeoutMs + silentMsOf(connectTimeoutMs);
        const call = new RunningCall({ clock, subject: "a probe", deadlineMs: probeMs, signal });
        await connections.calls.probe({ grpcAddress }, call).finally(() => call.end());
      };
      const openFor = fallback === undefined ? OPEN_FOR : OPEN_WITH_FALLBACK_FOR;
      const onChange = log && ((address: string, isReachable: boolean): void => log(availabilityEntry(address, isReachable)));
      const breaker = new CircuitBreaker({ clock, openFor, probe, onChange });
      const call = new RunningCall({ clock, subject: `connecting to ${endpoints.join(", ")}`, deadlineMs, signal });
      const members = new WatchedMembers({ endpoints, clock, connections, breaker, backoff: WATCH_BACKOFF });
      try {
        if (!options.lazy) await members.connected(call).catch((error: unknown) => mayContinue(error, options, call));
        return new CacheClient(options, ports, members, breaker);
      } catch (error) {
        await members.close();
        await breaker.close();
        await connections.close();
        await ports.requests.close();
        throw error;
      } finally {
        call.end();
      }
    };
  }

  readonly #options: ClientOptions;
  readonly #ports: ClientPorts;
  readonly #members: WatchedMembers;
  readonly #breaker: CircuitBreaker;
  readonly #failover: FailoverOptions;
  readonly #rangeWith: RangeWith;
  readonly #local: LocalReads | undefined;
  readonly #fallback: Fallback | undefined;
  readonly #near: NearCache | undefined;
  readonly #sendWith: SendWith;
  readonly #calls: RunningCalls;
  #closed: Promise<void> | undefined;

  private constructor(options: ClientOptions, ports: ClientPorts, members: WatchedMembers, breaker: CircuitBreaker) {
    this.#options = options;
    this.#ports = ports;
    this.#members = members;
    this.#breaker = breaker;
    this.#calls = new RunningCalls(ports.clock);
    const { metrics } = ports;
    const onRepeat = metrics && ((wasUnreachable: boolean): void => metrics.failover(wasUnreachable));
    const { parallelBlocks, localVolumes: volumes, fallback, log, attempts } = options;
    const isReplaceable = fallback !== undefined;
    this.#failover = { clock: ports.clock, breaker, attempts, backoff: RETRY_BACKOFF, isReplaceable, onRepeat };
    this.#near = options.nearBytes === 0 ? undefined : new NearCache(options.nearBytes, metrics);
    this.#fallback = fallback && new Fallback({ options: fallback, breaker, metrics, log });
    this.#sendWith = { requests: ports.requests, owners: members, failover: { ...this.#failover, isReplaceable: false } };
    const { connections, clock } = ports;
    const report = reportUses(connections.calls, members, clock);
    this.#local = volumes.length === 0 ? undefined : new LocalReads({ clock, volumes, report });
    this.#rangeWith = {
      blocks: connections.blocks,
      owners: members,
      failover: this.#failover,
      local: this.#local,
      fallback: this.#fallback,
      metrics,
      parallelBlocks,
    };
  }

  /**
   * Connects to any member, or to the Service in front of them, and receives the member list. Rejects with UNAVAILABLE if no
   * member answers, INVALID_ARGUMENT for invalid options, CANCELLED if `signal` is aborted.
   */
  static async connect(options: ConnectOptions): Promise<CacheClient> {
    const complete = completeOptions(options);
    const metrics = registeredMetrics();
    const { access, connectTimeoutMs, transport } = complete;
    const measured = metrics === undefined ? undefined : measuredBy(metrics);
    const ways = { clock: systemClock, access, connectTimeoutMs, transport, mostConnections: MOST_CONNECTIONS, measured };
    const requests = new HttpObjectRequests({
      clock: systemClock,
      access,
      connectTimeoutMs,
      mostConnections: MOST_WRITING_CONNECTIONS,
      idleMs: IDLE_MS,
    });
    return clientOver(complete, { clock: systemClock, connections: connectMembers(ways), requests, metrics }, options.signal);
  }

  /**
   * Reads the bytes of `[offset, offset + length)`: exactly `length`, or fewer if the object ends first. Length 0 needs no
   * request. A negative offset counts from the object's end: `(-8, 8)` are the last 8 bytes, or all of a shorter object. All bytes
   * are of one version: the given one (S3: the ETag, with or without quotes; GCS: the generation) or else the current one. Rejects with OUT_OF_RANGE if `offset` is past the object's end, FAILED_PRECONDITION if the current version differs.
   */
  async readRange(url: string, offset: number, length: number, version = "", options: ReadOptions = {}): Promise<Buffer> {
    if (offset < 0) return await this.#read(url, version, options, (reads, known) => readSuffix(reads, [offset, length], known));
    parseObjectUrl(url);
    checkRange(url, offset, length);
    checkOptions(options, READ_OPTIONS);
    const memory = memoryOf(url, length, options);
    if (length === 0) return Buffer.alloc(0);
    const range = { url, offset, length, version: unquoted(version), memory };
    if (this.#near !== undefined) {
      if (version === "") return await this.#read(url, "", options, (reads) => readCurrent(reads, [offset, length]));
      const cached = options.signal?.aborted === true ? undefined : this.#near.find(range);
      if (cached !== undefined) return cached;
    }
    const reading = this.#run(url, options, (call) => this.#readRange(range, call));
    // Awaited here because `withCaller` adds the caller's frames only of an awaited call.
    return await (this.#ports.metrics === undefined ? reading : this.#timed(reading, this.#ports.metrics));
  }

  /** As `readRange`, with everything in one object; without a range the whole object. */
  async read({ url, range, version, ...options }: ReadRequest): Promise<Buffer> {
    if (range === undefined) return await this.readObject(url, version, options);
    return await this.readRange(url, range[0], range[1], version, options);
  }

  /** Reads a whole object. With `into`, the result is the part of that buffer which the object fills. */
  async readObject(url: string, version = "", options: ReadOptions = {}): Promise<Buffer> {
    return await this.#read(url, version, options, readObject);
  }

  /**
   * Reads several ranges of one version, for example the column chunks of a row group. Ranges that overlap or are near each other
   * share a request, and their results may be views of the same memory. Rejects with OUT_OF_RANGE if one of them begins past the
   * object's end.
   */
  async readRanges(url: string, ranges: readonly Range[], version = "", options: CallOptions = {}): Promise<Buffer[]> {
    checkOptions(options, CALL_OPTIONS);
    return await this.#read(url, version, options, (reads, known) => readRanges(reads, ranges, known));
  }

  /** Opens one version of an object as a file for hyparquet or Apache Arrow. Costs one question; nothing needs to be closed. */
  async open(url: string, version = "", options: CallOptions = {}): Promise<ObjectFile> {
    const stat = await this.stat(url, version, options);
    return new ObjectFile(this, url, stat.version, stat.objectSize);
  }

  /**
   * Returns the same bytes as a Readable, which is also an async iterable. Without a length, it reads to the object's end; an
   * empty object yields no bytes. Destroying the stream, or breaking out of the loop, aborts the reads. The deadline applies to
   * each block's read, not to the whole stream. Throws INVALID_ARGUMENT synchronously; other errors destroy the stream.
   */
  stream(url: string, offset = 0, length?: number, version = "", options: StreamOptions = {}): ByteStream {
    checkOptions(options, STREAM_OPTIONS);
    parseObjectUrl(url);
    checkRange(url, offset, length ?? 0);
    if (length === 0) return Readable.from([]) as ByteStream;
    const { streamBlocks } = this.#options;
    const deadlineMs = deadlineOf(options, this.#options);
    const call = this.#calls.begin(url, { signal: options.signal });
    const ready = this.#members.isReady ? undefined : this.#whenReady(call);
    const using = { ...this.#rangeWith, streamBlocks, deadlineMs, reuse: options.reuse === true, ready };
    const stream = new RangeStream({ url, offset, length, version: unquoted(version) }, using, call);
    const done = new Promise<void>((resolve) => {
      const begunMs = this.#ports.clock.monotonicMs();
      stream.once("close", () => {
        this.#ports.metrics?.read("stream", this.#ports.clock.monotonicMs() - begunMs, stream.errored ?? undefined);
        resolve();
      });
    });
    this.#calls.keep(call, done);
    return stream;
  }

  /** Returns the same bytes as `stream`, as a stream of the web platform, for a `Response` for example. Cancelling it aborts the reads. */
  webStream(url: string, offset = 0, length?: number, version = "", options: CallOptions = {}): ReadableStream<Uint8Array> {
    checkOptions(options, CALL_OPTIONS);
    return webStreamOf(this.stream(url, offset, length, version, options));
  }

  /** Returns the object's metadata, as its owner knows it. */
  async stat(url: string, version = "", options: CallOptions = {}): Promise<ObjectStat> {
    parseObjectUrl(url);
    checkOptions(options, CALL_OPTIONS);
    const { lacks: _, ...stat } = await this.#run(url, options, (call) => this.#statBy(url, unquoted(version), call));
    return { ...stat, headers: Object.fromEntries(headerPairs(stat.headers ?? "")) };
  }

  /**
   * Fetches whole objects into the cache, by URL or prefix. Each block is fetched once, by its owner, with a lower priority than
   * reads; cached blocks are not fetched again. Resolves with the totals and the failures when all objects have been tried. It
   * has no deadline. Rejects with INVALID_ARGUMENT for an invalid URL, UNAVAILABLE if no member can be reached.
   */
  async warm(targets: Iterable<WarmTarget> | AsyncIterable<WarmTarget>, options: WarmOptions = {}): Promise<WarmSummary> {
    const using = { calls: this.#ports.connections.calls, owners: this.#members, failover: this.#failover };
    return this.#calls.run("warming", { signal: options.signal }, async (call) => {
      if (!this.#members.isReady) await this.#members.ready(call);
      return await warmObjects(targets, options, using, call);
    });
  }

  /**
   * Removes the cached blocks of one object, or of all objects with a prefix, from all members. Without a version: of all
   * versions.
   */
  async evict(selector: EvictSelector, options: CallOptions = {}): Promise<Evicted> {
    checkOptions(options, CALL_OPTIONS);
    const subject = "prefix" in selector ? checkUrlBeginning(selector.prefix) : parseObjectUrl(selector.url).url;
    const evicted = await this.#run(subject, options, (call) =>
      this.#anywhere(subject, call, (address) => this.#ports.connections.calls.evict(address, selector, call)),
    );
    this.#near?.drop(selector);
    return evicted;
  }

  /**
   * Writes an object through the cache to its store, if the members allow it (`--writes`). Bytes, text, streams and files are accepted;
   * long bodies are written in parts, which are removed if the write fails. The member and the store verify a digest of each request.
   * When it resolves, every member returns the new version. `deadlineMs` is the deadline of each request. Rejects with
   * FAILED_PRECONDITION if a condition does not hold; with UNAVAILABLE, saying so, if it is not known whether the object was written.
   *
   * @example await client.put("s3://models/weights.bin", { file: "weights.bin" });
   */
  async put(url: string, body: PutBody, options: PutOptions = {}): Promise<Written> {
    parseObjectUrl(url);
    checkOptions(options, PUT_OPTIONS);
    return await this.#write(url, options, (using, call, deadlineMs) => putObject(url, body, options, using, call, deadlineMs));
  }

  /** Copies an object within its store; no bytes pass through the cache. Rejects with FAILED_PRECONDITION if it changes meanwhile. */
  async copy(from: string, to: string, options: CopyOptions = {}): Promise<Written> {
    parseObjectUrl(to);
    checkOptions(options, COPY_OPTIONS);
    const { signal, deadlineMs: ownMs } = options;
    const {
      version,
      objectSize: size,
      contentType,
      headers,
    } = await this.stat(from, options.version, { signal, deadlineMs: ownMs });
    const source = { url: from, version, size, headers: { "content-type": contentType, ...headers } };
    return await this.#write(to, options, (using, call, deadlineMs) => copyObject(source, to, using, call, deadlineMs));
  }

  /** Deletes an object from its store and from the cache. That there is none is no error. */
  async delete(url: string, options: CallOptions = {}): Promise<void> {
    checkOptions(options, CALL_OPTIONS);
    parseObjectUrl(url);
    await this.#write(url, options, (using, call, deadlineMs) =>
      within(call, deadlineMs, (own) => deleteObject(url, using, own)),
    );
  }

  /** Deletes many objects, up to a thousand per request. Those that the store does not delete are in `failures`. */
  async deleteObjects(urls: Iterable<string> | AsyncIterable<string>, options: CallOptions = {}): Promise<DeleteSummary> {
    checkOptions(options, CALL_OPTIONS);
    const drop = (url: string): void => void this.#near?.drop({ url });
    return await this.#write("deleting objects", options, (using, call, deadlineMs) =>
      deleteObjects(urls, drop, using, call, deadlineMs),
    );
  }

  /**
   * Lists the objects of a bucket whose keys begin with a prefix, in the store's order, as the store knows them. Pages are requested as
   * the loop goes on. `deadlineMs` is the deadline of each page.
   *
   * @example for await (const object of client.list("s3://datasets/events/")) console.log(object);
   */
  async *list(url: string, options: ListOptions = {}): AsyncGenerator<ListedObject | ListedPrefix, void> {
    checkOptions(options, LIST_OPTIONS);
    let token: string | undefined;
    do {
      const page = await this.#run(url, options, (call) => listPage(url, options, token, this.#sendWith, call));
      yield* page.entries;
      token = page.nextToken;
    } while (token !== undefined);
  }

  /** The members that the client knows, by name; empty if the endpoint sends no member list. */
  members(): readonly MemberInfo[] {
    return this.#members.members;
  }

  /** Counts of the reads from block files of `localVolumes`; all 0 without local volumes. */
  localReads(): LocalReport {
    return this.#local?.report ?? { reads: 0, bytes: 0, openFiles: 0 };
  }

  /** Counts of the near cache; all 0 without `near`. */
  nearReads(): NearReport {
    return this.#near?.report ?? { hits: 0, misses: 0, cachedBytes: 0 };
  }

  /** Counts of the reads that the object stores answered because no member did; all 0 without `fallback`. */
  fallbackReads(): FallbackReport {
    return this.#fallback?.report ?? { reads: 0, bytes: 0, failures: 0 };
  }

  /** Aborts running calls with CANCELLED and closes all connections; resolves when all are closed. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Runs a read that has to look the object up first. */
  #read<Result>(
    url: string,
    version: string,
    options: ReadOptions,
    read: (reads: ObjectReads, version: string) => Promise<Result>,
  ): Promise<Result> {
    parseObjectUrl(url);
    checkOptions(options, READ_OPTIONS);
    const reading = this.#run(url, options, (call) => {
      const reads: ObjectReads = {
        url,
        call,
        stat: (known) => this.#statBy(url, known, call),
        range: (offset, length, known, within) => {
          return this.#readRange({ url, offset, length, version: known, memory: memoryOf(url, length, options) }, within);
        },
      };
      return read(reads, unquoted(version));
    });
    return this.#ports.metrics === undefined ? reading : this.#timed(reading, this.#ports.metrics);
  }

  /** Reads a range, of a known version through the near cache. */
  #readRange(range: RequestedRange, call: RunningCall): Promise<Buffer> {
    const { url, version } = range;
    if (this.#near === undefined || version === "") return readRange(range, this.#rangeWith, call);
    return this.#near.read(range, (offset, length) => readRange({ url, offset, length, version }, this.#rangeWith, call));
  }

  #statBy(url: string, version: string, call: RunningCall): Promise<MemberStat> {
    const atMembers = (): Promise<MemberStat> =>
      this.#anywhere(url, call, (address) => this.#ports.connections.calls.stat(address, { url, version }, call));
    if (this.#fallback === undefined) return atMembers();
    const addresses = this.#members.addressesOf(url, 0);
    return this.#fallback
      .stat(url, version, addresses, call, atMembers)
      .then((info) => ("cachedBytes" in info ? info : { ...info, cachedBytes: 0 }));
  }

  async #timed<Result>(reading: Promise<Result>, metrics: ClientMetrics): Promise<Result> {
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

  /** Asks the owner of an object's first block; if that fails, the next members on the ring. */
  #anywhere<Result>(url: string, call: RunningCall, at: (address: MemberAddress) => Promise<Result>): Promise<Result> {
    const addresses = orderByAvailability(this.#members.addressesOf(url, 0), this.#breaker);
    return withFailover({ addresses, at }, call, this.#failover);
  }

  #run<Result>(subject: string, options: CallOptions, work: (call: RunningCall) => Promise<Result>): Promise<Result> {
    const end = { signal: options.signal, deadlineMs: deadlineOf(options, this.#options) };
    return this.#calls.run(subject, end, this.#members.isReady ? work : (call) => this.#whenReady(call).then(() => work(call)));
  }

  /** Runs a write, whose requests have the deadline. What is near is dropped, whatever the outcome. */
  async #write<Result>(
    url: string,
    options: CallOptions,
    write: (using: SendWith, call: RunningCall, deadlineMs: number) => Promise<Result>,
  ): Promise<Result> {
    const deadlineMs = deadlineOf(options, this.#options);
    try {
      return await this.#calls.run(url, { signal: options.signal }, async (call) => {
        if (!this.#members.isReady) await within(call, deadlineMs, (own) => this.#members.ready(own));
        return await write(this.#sendWith, call, deadlineMs);
      });
    } finally {
      this.#near?.drop({ url });
    }
  }

  /** Waits for the first answer of a member. If object stores can answer, only for the first failure. */
  async #whenReady(call: CallLimits): Promise<void> {
    if (this.#fallback === undefined) await this.#members.ready(call);
    else await this.#members.connected(call).catch((error: unknown) => mayContinue(error, this.#options, call));
  }

  async #close(): Promise<void> {
    this.#near?.close();
    await this.#calls.close();
    await this.#local?.close();
    await Promise.all([this.#members.close(), this.#breaker.close()]);
    await this.#ports.connections.close();
    await this.#ports.requests.close();
  }
}

/** Throws the error of a failed connect, unless object stores can answer instead of members. */
function mayContinue(error: unknown, { fallback }: ClientOptions, call: CallLimits): void {
  if (fallback === undefined || call.ended !== undefined || CacheError.from(error).code !== "UNAVAILABLE") throw error;
}

function availabilityEntry(address: string, isReachable: boolean): LogEntry {
  return isReachable
    ? { level: "info", event: "member-reachable", message: `the member at ${address} answers again` }
    : { level: "warn", event: "member-unreachable", message: `the member at ${address} does not answer` };
}
