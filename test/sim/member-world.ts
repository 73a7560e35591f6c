import { CacheError, type Geometry, parseObjectUrl } from "@frontcache/proto";
import { LocalCache } from "../../server/src/cache/local-cache.js";
import type { ObjectRead } from "../../server/src/cache/object-read.js";
import { MemoryObjects } from "../../server/src/origin/memory-objects.js";
import { MemoryOrigin } from "../../server/src/origin/memory-origin.js";
import { rampBytes } from "../../server/src/origin/ramp.js";
import { RetryingOrigin } from "../../server/src/origin/retrying-origin.js";
import { sleep } from "../../server/src/runtime/clock.js";
import { silentLog } from "../../server/src/runtime/log.js";
import { ManualClock } from "../../server/src/runtime/manual-clock.js";
import { BlockStore, storageTuning } from "../../server/src/storage/block-store.js";
import { noMapping } from "../../server/src/storage/mapping.js";
import { MemoryDisk } from "../../server/src/storage/memory-disk.js";
import { storageFaults } from "../../server/src/storage/storage-invariants.js";
import { systemError } from "../../server/src/storage/system-error.js";
import { VersionHistory } from "./version-history.js";

/** Small enough that a few hundred steps fill, split and evict many blocks. */
export const geometry: Geometry = { blockBytes: 4096, segmentBytes: 512 };
export const REVALIDATE_AFTER_MS = 2_000;
export const URLS = ["s3://bucket/a", "s3://bucket/b", "s3://bucket/c"];

/** A read that the simulation has started and that must end as the model allows. */
interface RunningRead {
  readonly url: string;
  readonly version: string | undefined;
  readonly offset: number;
  readonly length: number;
  readonly startedMs: number;
  readonly abort: AbortController;
}

/** One member with its ports simulated: time, chance, disk and origin all come from one seed. */
export class MemberWorld {
  readonly clock = new ManualClock();
  readonly history = new VersionHistory();
  readonly objects = new MemoryObjects();
  readonly origin = new MemoryOrigin(this.objects, this.clock, 200);
  readonly reads = new Set<RunningRead>();
  /** What the model does not allow; empty as long as all is well. */
  readonly broken: string[] = [];
  disk: MemoryDisk;
  /** Chance of a disk operation to fail, and to take its time. */
  diskTrouble = { fails: 0, waits: 0 };
  /** Whether the origin was made to fail since the last rest: then reads may fail or be stale. */
  originTrouble = false;
  /** Reads that ended with their bytes right, and with an error that the model allows. */
  served = 0;
  refused = 0;
  #store!: BlockStore;
  #cache!: LocalCache;

  constructor(readonly random: () => number) {
    this.disk = new MemoryDisk({ totalBytes: 200 * 1024, nowMs: () => this.clock.nowMs() });
  }

  /** Opens the member on its disk, as it is. */
  async start(): Promise<void> {
    const { clock, random, disk } = this;
    disk.before = (operation, path) => this.#disturb(operation, path);
    const opening = BlockStore.open({
      volumes: [{ path: "/cache", limitBytes: 96 * 1024 }],
      geometry,
      disk,
      mapper: noMapping,
      clock,
      log: silentLog,
      highWatermark: 0.95,
      lowWatermark: 0.8,
      eviction: this.#pick(["lru", "slru"] as const),
      maxMappings: 4,
      purgeIntervalMs: 1_000,
      tuning: { ...storageTuning, diskReserveBytes: 0, readMemoryBytes: 16 * 1024 },
    });
    this.#store = await this.#during(opening);
    const retries = {
      attempts: 3,
      baseDelayMs: 5,
      maxDelayMs: 20,
      headTimeoutMs: 300,
      idleTimeoutMs: 100,
      hurried: { attempts: 2, headTimeoutMs: 100 },
      onRetry: () => {},
    };
    this.#cache = new LocalCache({
      geometry,
      origin: new RetryingOrigin(this.origin, retries, clock, random),
      store: this.#store,
      clock,
      fill: this.#pick(["auto", "whole", "wanted"] as const),
      partBytes: 2 * geometry.segmentBytes,
      fillMemoryBytes: 12 * geometry.segmentBytes,
      fillParallelism: 3,
      staleIfError: true,
      revalidateAfterMs: REVALIDATE_AFTER_MS,
      negativeTtlMs: 200,
    });
  }

  /** Puts another version of an object; sizes vary from nothing to several blocks. */
  put(url: string): void {
    const size = Math.floor(this.random() * 5 * geometry.blockBytes);
    const seed = Math.floor(this.random() * 251);
    const version = this.objects.putRamp(url, size, seed);
    this.history.put(url, { version, size, seed }, this.clock.nowMs());
  }

  delete(url: string): void {
    this.objects.delete(url);
    this.history.delete(url, this.clock.nowMs());
  }

  /** Starts a read of one block's part and checks how it ends, whenever that is. */
  read(url: string, version: string | undefined, blockOffset: number, start: number, length: number): void {
    const abort = new AbortController();
    const read: RunningRead = { url, version, offset: blockOffset + start, length, startedMs: this.clock.nowMs(), abort };
    this.reads.add(read);
    const request = {
      ref: parseObjectUrl(url),
      version,
      blockOffset,
      start,
      end: start + length,
      openEnded: this.random() < 0.2,
      cachedOnly: false,
      signal: abort.signal,
    };
    void this.#finish(read, async () => this.#cache.open(request));
  }

  abortOne(): void {
    [...this.reads][Math.floor(this.random() * this.reads.size)]?.abort.abort();
  }

  evict(url: string): void {
    void this.#cache.evict({ url });
  }

  /** Lets time pass, timer by timer, with everything that each one sets off. */
  async pass(ms: number): Promise<void> {
    const endMs = this.clock.nowMs() + ms;
    await turn();
    for (
      let nextMs = this.clock.nextInMs;
      nextMs !== undefined && this.clock.nowMs() + nextMs <= endMs;
      nextMs = this.clock.nextInMs
    ) {
      this.clock.advance(nextMs);
      await turn();
    }
    this.clock.advance(Math.max(0, endMs - this.clock.nowMs()));
    await turn();
  }

  /** Takes all trouble away, lets everything come to its end, and checks the invariants. */
  async rest(): Promise<void> {
    this.calm();
    await this.pass(20_000);
    if (this.reads.size > 0) this.broken.push(`${this.reads.size} reads never ended`);
    const { fills, fillMemoryBytes, waitingParts } = this.#cache.status();
    if (fills + fillMemoryBytes + waitingParts > 0) this.broken.push(`at rest: ${JSON.stringify(this.#cache.status())}`);
    if (this.origin.open > 0) this.broken.push(`at rest: ${this.origin.open} answers of the origin are open`);
    if (this.origin.doubled.length > 0) this.broken.push(`fetched twice at a time: ${JSON.stringify(this.origin.doubled)}`);
    this.broken.push(...(await storageFaults(this.#store, this.disk, geometry)));
    this.originTrouble = false;
  }

  calm(): void {
    this.diskTrouble = { fails: 0, waits: 0 };
    this.disk.foreignBytes = 0;
    this.origin.faults.clear();
  }

  /** Ends the member in good order and starts it again on the same disk. */
  async restart(): Promise<void> {
    await this.rest();
    if (this.broken.length > 0) return;
    await this.#during(this.#cache.close().then(() => this.#store.close()));
    await this.start();
  }

  /** The process dies where it stands; what is on the disk stays. */
  async crash(): Promise<void> {
    for (const read of this.reads) read.abort.abort();
    this.reads.clear();
    this.calm();
    this.disk = this.disk.crash();
    // What the dead process was doing goes on nowhere: its origin requests end with it, its disk operations never do.
    void this.#cache.close();
    await turn();
    this.origin.doubled.length = 0;
    await this.start();
  }

  async #finish(read: RunningRead, open: () => Promise<ObjectRead>): Promise<void> {
    try {
      const opened = await open();
      const bytes = await this.#drain(opened, read);
      if (bytes !== undefined && this.reads.has(read)) this.#judgeBytes(read, opened, bytes);
    } catch (error) {
      if (this.reads.has(read)) this.#judgeError(read, error);
    } finally {
      this.reads.delete(read);
    }
  }

  async #drain(opened: ObjectRead, read: RunningRead): Promise<Buffer | undefined> {
    const pieces: Buffer[] = [];
    const leavesAfter = this.random() < 0.1 ? Math.floor(this.random() * 4) : Number.POSITIVE_INFINITY;
    try {
      for (;;) {
        if (pieces.length >= leavesAfter) return undefined;
        const slice = await opened.next();
        if (slice === undefined) return Buffer.concat(pieces);
        // A slow reader holds its slice for a while; it must stay true meanwhile.
        if (this.random() < 0.3) await sleep(this.clock, Math.floor(this.random() * 30), read.abort.signal).catch(() => {});
        pieces.push(Buffer.from(slice.bytes));
        slice.release();
      }
    } finally {
      opened.close();
    }
  }

  #judgeBytes(read: RunningRead, { info, length }: ObjectRead, bytes: Buffer): void {
    const known = this.history.version(read.url, info.version);
    const what = `read of ${read.url} at ${read.offset} of ${read.length} bytes as ${read.version ?? "current"}`;
    if (known === undefined) return void this.broken.push(`${what}: answered with a version that never was: ${info.version}`);
    const expected = rampBytes(read.offset, Math.max(0, Math.min(read.length, known.size - read.offset)), known.seed);
    if (bytes.length !== length || !bytes.equals(expected)) this.broken.push(`${what}: wrong bytes of ${info.version}`);
    if (read.version !== undefined && read.version !== info.version) this.broken.push(`${what}: answered with ${info.version}`);
    const sinceMs = read.startedMs - REVALIDATE_AFTER_MS;
    const current = this.history.wasCurrent(read.url, info.version, sinceMs, this.clock.nowMs());
    if (read.version === undefined && !current && !this.originTrouble) this.broken.push(`${what}: ${info.version} is too old`);
    this.served++;
  }

  #judgeError(read: RunningRead, error: unknown): void {
    const { code, message, cause } = CacheError.from(error);
    const { url, version, startedMs, offset, abort } = read;
    const nowMs = this.clock.nowMs();
    // Since when a version may be believed to be current; while the origin can't be asked, any one that is held.
    const believedMs = this.originTrouble ? Number.NEGATIVE_INFINITY : startedMs - REVALIDATE_AFTER_MS;
    const allowed: Record<string, boolean> = {
      CANCELLED: abort.signal.aborted,
      UNAVAILABLE: this.originTrouble,
      RESOURCE_EXHAUSTED: this.originTrouble,
      NOT_FOUND: this.history.wasMissing(url, startedMs - 200, nowMs),
      OUT_OF_RANGE: this.history.hadEnded(url, version, offset, believedMs, nowMs),
      FAILED_PRECONDITION: this.history.changed(url, version, version === undefined ? believedMs : startedMs, nowMs),
    };
    if (allowed[code] !== true) {
      this.broken.push(
        `read of ${url} at ${offset} as ${version ?? "current"} failed with ${code}: ${message} ${String((cause as Error)?.stack ?? "")}`,
      );
    }
    this.refused++;
  }

  async #disturb(operation: string, path: string): Promise<undefined> {
    const { fails, waits } = this.diskTrouble;
    if (this.random() < waits) await sleep(this.clock, Math.floor(this.random() * 40));
    if (this.random() < fails && operation !== "close") {
      throw systemError(this.#pick(["ENOSPC", "EIO", "EROFS", "EACCES", "EMFILE"]), `${operation} ${path}`);
    }
    return undefined;
  }

  /** Waits for something while time passes. */
  async #during<T>(work: Promise<T>): Promise<T> {
    let over = false;
    work.then(
      () => (over = true),
      () => (over = true),
    );
    await turn();
    for (let i = 0; i < 100_000 && !over; i++) await this.pass(10);
    return work;
  }

  #pick<T>(choices: readonly T[]): T {
    return choices[Math.floor(this.random() * choices.length)]!;
  }
}

/** Lets everything run that waits for nothing but its turn. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
