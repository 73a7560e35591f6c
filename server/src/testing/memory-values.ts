import { CacheError, outOfRange } from "@frontcache/proto";
import type { Clock } from "../runtime/clock.js";
import type { Slice } from "../runtime/slice.js";
import { HybridClock } from "../values/hybrid-clock.js";
import { Locks } from "../values/locks.js";
import { Monitors } from "../values/monitors.js";
import { SpanSet } from "../values/span-set.js";
import {
  type BeginRequest,
  type Completion,
  checkDescription,
  checkSize,
  type ListRequest,
  type LockRequest,
  type MonitorRequest,
  type OpenRequest,
  type PutRequest,
  parseValueUrl,
  ValueConflict,
  type ValueDescription,
  type ValueEvent,
  type ValueInfo,
  type ValueList,
  type ValueRead,
  type ValueRequest,
  type ValueStats,
  type Values,
} from "../values/values.js";

interface Stored {
  readonly info: ValueInfo;
  readonly bytes: Buffer;
}

/** A value that a client is sending. */
interface Draft {
  readonly info: ValueInfo;
  readonly size: number | undefined;
  bytes: Buffer;
  end: "ready" | CacheError | undefined;
  readonly waiting: Set<() => void>;
}

interface Upload {
  readonly info: ValueInfo;
  readonly bytes: Buffer;
  readonly written: SpanSet;
}

/** Values in memory, as one member without others has them. For tests of what is built on the port. */
export class MemoryValues implements Values {
  /** Time to live by bucket, seconds. */
  readonly defaultTtl = new Map<string, number>();
  capacityBytes = 1 << 30;
  readonly #clock: Clock;
  readonly #versions: HybridClock;
  readonly #locks: Locks;
  readonly #monitors = new Monitors();
  readonly #values = new Map<string, Stored>();
  readonly #drafts = new Map<string, Set<Draft>>();
  readonly #uploads = new Map<string, Upload>();
  readonly #counts = { hits: 0, misses: 0, bytesRead: 0, bytesWritten: 0, inserts: 0, deletes: 0, expirations: 0 };
  /** Slices that were not released. */
  openSlices = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#versions = new HybridClock(clock, "memory");
    this.#locks = new Locks(clock);
  }

  async put(request: PutRequest, body: Uint8Array | AsyncIterable<Uint8Array>): Promise<ValueInfo> {
    const { url, size, ifNoneMatch, whileWritten, signal } = request;
    parseValueUrl(url);
    checkDescription(url, request);
    if (size !== undefined) checkSize(url, size, 0);
    signal.throwIfAborted();
    for (let running = this.#writerOf(url); running !== undefined && whileWritten !== undefined; running = this.#writerOf(url)) {
      if (whileWritten === "refuse") throw new ValueConflict("already_started", `${url} is being written`);
      await changed(running, signal);
    }
    if (ifNoneMatch === "*" && this.#find(url) !== undefined) throw new ValueConflict("exists", `${url} exists`);
    this.#locks.check(url);
    const info = this.#describe(url, 0, request);
    const draft: Draft = { info, size, bytes: Buffer.alloc(0), end: undefined, waiting: new Set() };
    const drafts = this.#drafts.get(url) ?? new Set();
    this.#drafts.set(url, drafts.add(draft));
    this.#monitors.report({ event: "insert", url });
    try {
      for await (const piece of body instanceof Uint8Array ? [body] : body) {
        signal.throwIfAborted();
        draft.bytes = Buffer.concat([draft.bytes, piece]);
        this.#counts.bytesWritten += piece.length;
        wake(draft);
      }
      signal.throwIfAborted();
      if (size !== undefined && size !== draft.bytes.length) {
        throw new CacheError("INVALID_ARGUMENT", `${url}: the body has ${draft.bytes.length} bytes instead of ${size}`);
      }
      draft.end = "ready";
      const ready = { ...info, size: draft.bytes.length };
      this.#store({ info: ready, bytes: draft.bytes });
      return ready;
    } catch (error) {
      draft.end = new CacheError("UNAVAILABLE", `${url}: its writer has ended early`);
      throw CacheError.from(error);
    } finally {
      drafts.delete(draft);
      if (drafts.size === 0) this.#drafts.delete(url);
      wake(draft);
    }
  }

  open({ url, offset, length, follow, version, signal }: OpenRequest): ValueRead {
    parseValueUrl(url);
    const stored = this.#find(url);
    const draft = follow === true && stored === undefined ? this.#writerOf(url) : undefined;
    const [info, size] = draft === undefined ? [stored?.info, stored?.bytes.length] : [draft.info, draft.size];
    if (info === undefined) {
      this.#counts.misses++;
      throw new CacheError("NOT_FOUND", `${url}: no such value`);
    }
    if (version !== undefined && version !== info.version) {
      throw new CacheError("FAILED_PRECONDITION", `${url}: the value has version ${info.version}`);
    }
    if (size !== undefined && offset >= size && (size > 0 || offset > 0)) throw outOfRange(url, offset, size);
    this.#counts.hits++;
    const end = Math.min(size ?? Number.POSITIVE_INFINITY, length === undefined ? Number.POSITIVE_INFINITY : offset + length);
    let at = offset;
    const take = (bytes: Buffer): Slice | undefined => {
      const taken = bytes.subarray(at, Math.min(end, at + 64 * 1024));
      at += taken.length;
      this.#counts.bytesRead += taken.length;
      return taken.length === 0 ? undefined : this.#slice(taken);
    };
    return {
      isLocal: true,
      info: draft === undefined ? info : { ...info, size: size ?? draft.bytes.length },
      offset,
      length: Number.isFinite(end) ? end - offset : undefined,
      next: () =>
        (draft === undefined ? take(stored!.bytes) : follow && followed(draft, () => at, end, take, signal)) || undefined,
      close: () => {
        at = end;
      },
    };
  }

  async head({ url }: ValueRequest): Promise<ValueInfo | undefined> {
    parseValueUrl(url);
    return this.#find(url)?.info;
  }

  async delete({ url }: ValueRequest): Promise<boolean> {
    parseValueUrl(url);
    if (this.#find(url) === undefined) return false;
    this.#locks.check(url);
    this.#values.delete(url);
    this.#counts.deletes++;
    this.#monitors.report({ event: "delete", url });
    return true;
  }

  async list({ bucket, prefix, after, limit }: ListRequest): Promise<ValueList> {
    const root = `cache://${bucket}/`;
    const keyOf = (url: string): Buffer => Buffer.from(url.slice(root.length));
    const found = [...this.#values.keys()]
      .filter((url) => url.startsWith(root + prefix) && Buffer.compare(keyOf(url), Buffer.from(after)) > 0)
      .filter((url) => this.#find(url) !== undefined)
      .sort((a, b) => Buffer.compare(keyOf(a), keyOf(b)));
    return { values: found.slice(0, limit).map((url) => this.#find(url)!.info), isTruncated: found.length > limit };
  }

  async begin(request: BeginRequest): Promise<void> {
    const { url, size, exclusive } = request;
    parseValueUrl(url);
    checkDescription(url, request);
    checkSize(url, size, 1);
    if (this.#uploads.has(url)) throw new ValueConflict("already_started", `${url} is being uploaded`);
    if (exclusive && this.#find(url) !== undefined) throw new ValueConflict("exists", `${url} exists`);
    this.#uploads.set(url, { info: this.#describe(url, size, request), bytes: Buffer.alloc(size), written: new SpanSet() });
    this.#monitors.report({ event: "insert", url });
  }

  async writeRange({ url }: ValueRequest, offset: number, bytes: Uint8Array | AsyncIterable<Uint8Array>): Promise<Completion> {
    const upload = this.#uploadOf(url);
    let at = offset;
    for await (const piece of bytes instanceof Uint8Array ? [bytes] : bytes) {
      if (!(offset >= 0) || at + piece.length > upload.bytes.length)
        throw outOfRange(url, at + piece.length, upload.bytes.length);
      upload.bytes.set(piece, at);
      upload.written.add(at, at + piece.length);
      this.#counts.bytesWritten += piece.length;
      at += piece.length;
    }
    return upload.written.completion(upload.bytes.length);
  }

  async completion({ url }: ValueRequest): Promise<Completion | undefined> {
    const upload = this.#uploads.get(url);
    return upload?.written.completion(upload.bytes.length);
  }

  async finalize({ url, ttlSeconds }: ValueRequest & { ttlSeconds?: number | undefined }): Promise<ValueInfo> {
    const { info, bytes, written } = this.#uploadOf(url);
    checkDescription(url, { ttlSeconds });
    const completion = written.completion(bytes.length);
    if (completion.missing.length > 0) throw new ValueConflict("incomplete", `${url}: bytes are missing`, completion);
    this.#locks.check(url);
    this.#uploads.delete(url);
    const ready = ttlSeconds === undefined ? info : { ...info, expiresMs: this.#expiry(url, ttlSeconds) };
    this.#store({ info: ready, bytes });
    return ready;
  }

  async abort({ url }: ValueRequest): Promise<void> {
    this.#uploads.delete(url);
  }

  async lock({ url, holder, seconds }: LockRequest): Promise<number> {
    if (this.#find(url) === undefined) throw new CacheError("NOT_FOUND", `${url}: no such value`);
    return this.#locks.lock(url, holder, seconds);
  }

  async unlock({ url, holder }: Omit<LockRequest, "seconds">): Promise<void> {
    this.#locks.unlock(url, holder);
  }

  /** Number of running monitors. */
  get monitors(): number {
    return this.#monitors.size;
  }

  monitor(request: MonitorRequest): AsyncIterable<ValueEvent> {
    return this.#monitors.watch(request);
  }

  stats(): ValueStats {
    const sizeBytes = [...this.#values.values()].reduce((sum, { bytes }) => sum + bytes.length, 0);
    return {
      ...this.#counts,
      evictions: 0,
      lost: 0,
      underReplicated: 0,
      repaired: 0,
      entries: this.#values.size,
      sizeBytes,
      capacityBytes: this.capacityBytes,
      writers: this.#drafts.size,
      locks: this.#locks.size,
    };
  }

  #writerOf(url: string): Draft | undefined {
    return [...(this.#drafts.get(url) ?? [])].at(-1);
  }

  #find(url: string): Stored | undefined {
    const stored = this.#values.get(url);
    const expiresMs = stored?.info.expiresMs;
    if (expiresMs === undefined || expiresMs > this.#clock.nowMs()) return stored;
    this.#values.delete(url);
    this.#counts.expirations++;
    this.#monitors.report({ event: "delete", url });
    return undefined;
  }

  #describe(url: string, size: number, { ttlSeconds, flags = 0, metadata = {}, contentType }: ValueDescription): ValueInfo {
    const createdMs = this.#clock.nowMs();
    const version = this.#versions.next();
    return { url, version, size, createdMs, expiresMs: this.#expiry(url, ttlSeconds), flags, metadata, contentType };
  }

  #expiry(url: string, ttlSeconds: number | undefined): number | undefined {
    const seconds = ttlSeconds ?? this.defaultTtl.get(parseValueUrl(url).bucket) ?? 0;
    return seconds === 0 ? undefined : this.#clock.nowMs() + seconds * 1_000;
  }

  #store(stored: Stored): void {
    const { url, version } = stored.info;
    this.#counts.inserts++;
    if ((this.#values.get(url)?.info.version ?? "") > version) return;
    this.#values.set(url, stored);
    this.#monitors.report({ event: "ready", url, info: stored.info });
  }

  #uploadOf(url: string): Upload {
    const upload = this.#uploads.get(url);
    if (upload === undefined) throw new CacheError("NOT_FOUND", `${url}: no upload is running`);
    return upload;
  }

  #slice(bytes: Buffer): Slice {
    this.openSlices++;
    return {
      bytes,
      release: () => {
        this.openSlices--;
      },
    };
  }
}

async function followed(
  draft: Draft,
  at: () => number,
  end: number,
  take: (bytes: Buffer) => Slice | undefined,
  signal: AbortSignal,
): Promise<Slice | undefined> {
  for (;;) {
    const slice = at() >= end ? undefined : take(draft.bytes);
    if (slice !== undefined || at() >= end || draft.end === "ready") return slice;
    if (draft.end !== undefined) throw draft.end;
    await changed(draft, signal);
  }
}

function wake(draft: Draft): void {
  for (const resolve of [...draft.waiting]) resolve();
  draft.waiting.clear();
}

/** Resolves when the draft has more bytes, or has ended. */
async function changed(draft: Draft, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    draft.waiting.add(resolve);
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
  if (signal.aborted) throw CacheError.from(signal.reason);
}
