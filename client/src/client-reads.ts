import { Readable } from "node:stream";
import { checkRange, parseObjectUrl } from "@frontcache/proto";
import { checkOptions } from "./argument-types.js";
import type { ClientCalls } from "./client-calls.js";
import type { ClientPorts } from "./connected-members.js";
import type { RunningCall } from "./members/running-call.js";
import type { CurrentVersion } from "./near/leased-versions.js";
import type { NearCache } from "./near/near-cache.js";
import { type ObjectReads, type Range, readCurrent, readSuffix } from "./object-reads.js";
import { memoryOf, READ_OPTIONS, type ReadOptions, STREAM_OPTIONS, type StreamOptions, unquoted } from "./options.js";
import { type ByteStream, type NearReads, RangeStream } from "./range-stream.js";
import { type RequestedRange, readRange } from "./read-range.js";

/** The reads of a client: from the near cache if it has one, and from the cluster. */
export class ClientReads {
  readonly #calls: ClientCalls;
  readonly #ports: Pick<ClientPorts, "clock" | "metrics" | "traces">;
  readonly #near: NearCache | undefined;
  readonly #streamBlocks: number;

  constructor(calls: ClientCalls, ports: ClientPorts, near: NearCache | undefined, streamBlocks: number) {
    this.#calls = calls;
    this.#ports = ports;
    this.#near = near;
    this.#streamBlocks = streamBlocks;
  }

  /** As `CacheClient.readRange`. */
  async readRange(url: string, [offset, length]: Range, version: string, options: ReadOptions): Promise<Buffer> {
    if (offset < 0) return await this.read(url, version, options, (reads, known) => readSuffix(reads, [offset, length], known));
    parseObjectUrl(url);
    checkRange(url, offset, length);
    checkOptions(options, READ_OPTIONS);
    const memory = memoryOf(url, length, options);
    if (length === 0) return Buffer.alloc(0);
    const range = { url, offset, length, version: unquoted(version), memory };
    if (this.#near !== undefined) {
      const known = range.version || this.#near.versions.current(url)?.version;
      const cached = known === undefined || options.signal?.aborted ? undefined : this.#near.find({ ...range, version: known });
      if (cached !== undefined) return cached;
      if (version === "") return await this.read(url, "", options, (reads) => readCurrent(reads, [offset, length]));
    }
    // Awaited here because `withCaller` adds the caller's frames only of an awaited call.
    return await this.#calls.observed(range, () => this.#calls.run(url, options, (call) => this.#range(range, call)));
  }

  /** Runs a read that has to look the object up first. */
  async read<Result>(
    url: string,
    version: string,
    options: ReadOptions,
    read: (reads: ObjectReads, version: string) => Promise<Result>,
  ): Promise<Result> {
    parseObjectUrl(url);
    checkOptions(options, READ_OPTIONS);
    const work = (call: RunningCall): Promise<Result> => {
      let isAgain = false;
      const reads: ObjectReads = {
        url,
        call,
        stat: (known) => {
          const stat = known === "" ? this.#current(url, isAgain, call) : this.#lookUp(url, known, call);
          isAgain = true;
          return stat;
        },
        range: (offset, length, known, within) => {
          return this.#range({ url, offset, length, version: known, memory: memoryOf(url, length, options) }, within);
        },
      };
      return read(reads, unquoted(version));
    };
    return await this.#calls.observed({ url }, () => this.#calls.run(url, options, work));
  }

  /** As `CacheClient.stream`. */
  stream(url: string, offset: number, length: number | undefined, version: string, options: StreamOptions): ByteStream {
    checkOptions(options, STREAM_OPTIONS);
    parseObjectUrl(url);
    checkRange(url, offset, length ?? 0);
    if (length === 0) return Readable.from([]) as ByteStream;
    const { clock, metrics, traces } = this.#ports;
    const { connected } = this.#calls;
    const deadlineMs = this.#calls.deadlineOf(options);
    const call = this.#calls.begin(url, options);
    const ready = connected.list.isReady ? undefined : connected.ready(call);
    const own = {
      streamBlocks: this.#streamBlocks,
      deadlineMs,
      reuse: options.reuse === true,
      ready,
      near: this.#nearReads(url),
    };
    const stream = new RangeStream({ url, offset, length, version: unquoted(version) }, { ...connected.rangeWith, ...own }, call);
    const endSpan = traces?.begin("stream", { url, offset, length });
    const done = new Promise<void>((resolve) => {
      const begunMs = clock.monotonicMs();
      stream.once("close", () => {
        metrics?.read("stream", clock.monotonicMs() - begunMs, stream.errored ?? undefined);
        endSpan?.(stream.errored ?? undefined);
        resolve();
      });
    });
    this.#calls.keep(call, done);
    return stream;
  }

  /** The near cache as a stream uses it. */
  #nearReads(url: string): NearReads | undefined {
    if (this.#near === undefined) return undefined;
    return { current: (isAgain, call) => this.#current(url, isAgain, call), read: (range, call) => this.#range(range, call) };
  }

  /** Returns the current version, by a lease if there is one. `isAgain`: a version that was returned before is not current any more. */
  async #current(url: string, isAgain: boolean, call: RunningCall): Promise<CurrentVersion> {
    const leased = isAgain ? undefined : this.#near?.versions.current(url);
    return leased ?? (await this.#lookUp(url, "", call));
  }

  /** Reads a range, of a known version through the near cache. */
  #range(range: RequestedRange, call: RunningCall): Promise<Buffer> {
    const { rangeWith } = this.#calls.connected;
    if (this.#near === undefined || range.version === "") return readRange(range, rangeWith, call);
    return this.#near.read(range, (missing) => readRange(missing, rangeWith, call), call);
  }

  /** Looks a version up, the current one with a lease if there is a near cache. */
  async #lookUp(url: string, version: string, call: RunningCall): Promise<CurrentVersion> {
    const near = version === "" ? this.#near : undefined;
    const sentAtMs = this.#ports.clock.monotonicMs();
    const stat = await this.#calls.connected.stat(url, version, call, near !== undefined);
    if (near !== undefined && stat.leaseMs !== undefined) near.versions.add(url, stat, sentAtMs, stat.leaseMs);
    return stat;
  }
}
