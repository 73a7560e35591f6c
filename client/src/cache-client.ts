import { checkUrlBeginning, headerPairs, type MemberInfo, parseObjectUrl } from "@frontcache/proto";
import { checkIterable, checkObject, checkOptions } from "./argument-types.js";
import { ClientCalls } from "./client-calls.js";
import { ClientReads } from "./client-reads.js";
import { type ClientPorts, ConnectedMembers, systemPorts } from "./connected-members.js";
import type { FallbackReport } from "./fallback/fallback.js";
import type { LocalReport } from "./local/local-reads.js";
import type { Evicted, EvictSelector, ObjectStat as MemberStat } from "./members/ports.js";
import { NearDisk } from "./near/disk/near-disk.js";
import { NearCache, type NearReport } from "./near/near-cache.js";
import { ObjectFile } from "./object-file.js";
import { type Range, readObject, readRanges } from "./object-reads.js";
import {
  CALL_OPTIONS,
  type CallOptions,
  type ClientOptions,
  type ConnectOptions,
  completeOptions,
  type ReadOptions,
  type StreamOptions,
  unquoted,
} from "./options.js";
import { type ByteStream, webStreamOf } from "./range-stream.js";
import { ValueObjects } from "./values/value-objects.js";
import type { WarmSummary } from "./warm-count.js";
import { type WarmOptions, type WarmTarget, warmObjects } from "./warming.js";
import { COPY_OPTIONS, type CopyOptions } from "./writing/copy-object.js";
import type { DeleteSummary } from "./writing/delete-objects.js";
import type { ListedObject, ListedPrefix, ListOptions } from "./writing/list-objects.js";
import type { Written } from "./writing/multipart.js";
import { ObjectWrites } from "./writing/object-writes.js";
import type { PutOptions } from "./writing/put-object.js";
import type { PutBody } from "./writing/put-source.js";

/** A read, for `read`. */
export interface ReadRequest extends ReadOptions {
  readonly url: string;
  /** `[offset, length]` in bytes; a negative offset counts from the object's end. Default: the whole object. */
  readonly range?: Range | undefined;
  /** S3: the ETag, with or without quotes; GCS: the generation. Default: the current version. */
  readonly version?: string | undefined;
}

const SELECTOR: ReadonlySet<string> = new Set(["url", "prefix", "version"]);

/** What the cluster knows of an object. */
export interface ObjectStat extends Omit<MemberStat, "headers" | "lacks" | "leaseMs"> {
  /**
   * Further headers that the object store returns for the object, for example `content-encoding` or `x-amz-meta-owner`. Names are
   * in lower case.
   */
  readonly headers: Readonly<Record<string, string>>;
}

/** Creates a client with other ports, for tests. The client closes its connections. `signal` aborts the initial connect. */
export let clientOver: (options: ClientOptions, ports: ClientPorts, signal?: AbortSignal) => Promise<CacheClient>;

/** Reads objects through the cache. Create one with `connect`, and close it when done: it keeps connections open. */
export class CacheClient implements AsyncDisposable {
  static {
    clientOver = async (options, ports, signal) => {
      const near = await openNear(options, ports);
      try {
        return new CacheClient(options, ports, await ConnectedMembers.connect(options, ports, signal), near);
      } catch (error) {
        await near?.close();
        throw error;
      }
    };
  }

  readonly #ports: ClientPorts;
  readonly #connected: ConnectedMembers;
  readonly #near: NearCache | undefined;
  readonly #calls: ClientCalls;
  readonly #reads: ClientReads;
  readonly #writes: ObjectWrites;
  #closed: Promise<void> | undefined;

  private constructor(options: ClientOptions, ports: ClientPorts, connected: ConnectedMembers, near: NearCache | undefined) {
    this.#ports = ports;
    this.#connected = connected;
    this.#near = near;
    this.#calls = new ClientCalls(options, ports, connected);
    this.#reads = new ClientReads(this.#calls, ports, near, options.streamBlocks);
    this.#writes = new ObjectWrites(this.#calls, near);
  }

  /**
   * Connects to any member, or to the Service in front of them, and receives the member list. Rejects with UNAVAILABLE if no
   * member answers, INVALID_ARGUMENT for invalid options, CANCELLED if `signal` is aborted.
   */
  static async connect(options: ConnectOptions): Promise<CacheClient> {
    const complete = completeOptions(options);
    return clientOver(complete, systemPorts(complete), options.signal);
  }

  /**
   * Reads the bytes of `[offset, offset + length)`: exactly `length`, or fewer if the object ends first. Length 0 needs no
   * request. A negative offset counts from the object's end: `(-8, 8)` are the last 8 bytes, or all of a shorter object. All bytes
   * are of one version: the given one (S3: the ETag, with or without quotes; GCS: the generation) or else the current one. Rejects
   * with OUT_OF_RANGE if `offset` is past the object's end, FAILED_PRECONDITION if the current version differs.
   */
  readRange(url: string, offset: number, length: number, version = "", options: ReadOptions = {}): Promise<Buffer> {
    return this.#reads.readRange(url, [offset, length], version, options);
  }

  /** As `readRange`, with everything in one object; without a range the whole object. */
  async read(request: ReadRequest): Promise<Buffer> {
    const { url, range, version, ...options } = checkObject("the request", request);
    if (range === undefined) return await this.readObject(url, version, options);
    return await this.readRange(url, range[0], range[1], version, options);
  }

  /** Reads a whole object. With `into`, the result is the part of that buffer which the object fills. */
  readObject(url: string, version = "", options: ReadOptions = {}): Promise<Buffer> {
    return this.#reads.read(url, version, options, readObject);
  }

  /**
   * Reads several ranges of one version, for example the column chunks of a row group. Ranges that overlap or are near each other
   * share a request, and their results may be views of the same memory. Rejects with OUT_OF_RANGE if one of them begins past the
   * object's end.
   */
  async readRanges(url: string, ranges: readonly Range[], version = "", options: CallOptions = {}): Promise<Buffer[]> {
    checkOptions(options, CALL_OPTIONS);
    checkIterable("ranges", ranges);
    return await this.#reads.read(url, version, options, (reads, known) => readRanges(reads, ranges, known));
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
    return this.#reads.stream(url, offset, length, version, options);
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
    const {
      lacks: _,
      leaseMs: __,
      ...stat
    } = await this.#calls.traced("stat", url, () =>
      this.#calls.run(url, options, (call) => this.#connected.stat(url, unquoted(version), call)),
    );
    return { ...stat, headers: Object.fromEntries(headerPairs(stat.headers ?? "")) };
  }

  /**
   * Fetches whole objects into the cache, by URL or prefix. Each block is fetched once, by its owner, with a lower priority than
   * reads; cached blocks are not fetched again. Resolves with the totals and the failures when all objects have been tried. It
   * has no deadline. Rejects with INVALID_ARGUMENT for an invalid URL, UNAVAILABLE if no member can be reached.
   */
  async warm(targets: Iterable<WarmTarget> | AsyncIterable<WarmTarget>, options: WarmOptions = {}): Promise<WarmSummary> {
    const using = { calls: this.#ports.connections.calls, owners: this.#connected.list, failover: this.#connected.failover };
    checkIterable("targets", targets);
    return this.#calls.runLong("warming", options, async (call) => {
      if (!this.#connected.list.isReady) await this.#connected.list.ready(call);
      return await warmObjects(targets, options, using, call);
    });
  }

  /**
   * Removes the cached blocks of one object, or of all objects with a prefix, from all members. Without a version: of all
   * versions.
   */
  async evict(selector: EvictSelector, options: CallOptions = {}): Promise<Evicted> {
    checkOptions(options, CALL_OPTIONS);
    checkOptions(checkObject("the selector", selector), SELECTOR);
    const subject = "prefix" in selector ? checkUrlBeginning(selector.prefix) : parseObjectUrl(selector.url).url;
    const evicted = await this.#calls.run(subject, options, (call) =>
      this.#connected.ask(subject, call, (address) => this.#ports.connections.calls.evict(address, selector, call)),
    );
    await this.#near?.evict(selector);
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
  put(url: string, body: PutBody, options: PutOptions = {}): Promise<Written> {
    return this.#writes.put(url, body, options);
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
    return await this.#writes.copy(source, to, options);
  }

  /** Deletes an object from its store and from the cache. It is no error if there is no such object. */
  delete(url: string, options: CallOptions = {}): Promise<void> {
    return this.#writes.delete(url, options);
  }

  /** Deletes many objects, up to a thousand per request. Those that the store does not delete are in `failures`. */
  deleteObjects(urls: Iterable<string> | AsyncIterable<string>, options: CallOptions = {}): Promise<DeleteSummary> {
    return this.#writes.deleteAll(urls, options);
  }

  /**
   * Lists the objects of a bucket whose keys begin with a prefix, in the store's order, as the store knows them. Pages are requested as
   * the loop continues. `deadlineMs` is the deadline of each page.
   *
   * @example for await (const object of client.list("s3://datasets/events/")) console.log(object);
   */
  list(url: string, options: ListOptions = {}): AsyncGenerator<ListedObject | ListedPrefix, void> {
    return this.#writes.list(url, options);
  }

  /**
   * The values of a bucket, `cache://bucket/...`: objects without an origin, written once and read everywhere, with a time to live.
   *
   * @example await client.objects("features").put("user/7", bytes, { ttlSeconds: 3_600 });
   */
  objects(bucket: string): ValueObjects {
    const { clock } = this.#ports;
    return new ValueObjects(bucket, {
      ...this.#connected.valuesWith,
      fileOf: (value) => this.#connected.fileOf(value),
      nowMs: () => clock.monotonicMs(),
      after: (ms, run) => clock.after(ms, run),
      run: (subject, { isLong = false, ...options }, work) => {
        if (!isLong) return this.#calls.run(subject, options, work);
        return this.#calls.runLong(subject, options, async (call) => {
          if (!this.#connected.list.isReady) await this.#connected.ready(call);
          return await work(call);
        });
      },
    });
  }

  /** The members that the client knows, by name; empty if the endpoint sends no member list. */
  members(): readonly MemberInfo[] {
    return this.#connected.list.members;
  }

  /** Counts of the reads from block files of `localVolumes`; all 0 without local volumes. */
  localReads(): LocalReport {
    return this.#connected.local?.report ?? { reads: 0, bytes: 0, openFiles: 0 };
  }

  /** Counts of the near cache; all 0 without `near`. */
  nearReads(): NearReport {
    return this.#near?.report ?? { hits: 0, misses: 0, diskHits: 0, cachedBytes: 0 };
  }

  /** Counts of the reads that the object stores answered because no member did; all 0 without `fallback`. */
  fallbackReads(): FallbackReport {
    return this.#connected.fallback?.report ?? { reads: 0, bytes: 0, failures: 0 };
  }

  /** Aborts running calls with CANCELLED and closes all connections; resolves when all are closed. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    this.#near?.drop({ prefix: "" });
    await this.#calls.close();
    await this.#near?.close();
    await this.#connected.close();
  }
}

async function openNear({ near, log }: ClientOptions, { clock, metrics }: ClientPorts): Promise<NearCache | undefined> {
  if (near === undefined) return undefined;
  const disk = near.disk && (await NearDisk.open({ ...near.disk, clock, log }));
  return new NearCache({ memoryBytes: near.memoryBytes, disk, clock, metrics });
}
