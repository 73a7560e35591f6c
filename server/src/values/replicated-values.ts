import { setMaxListeners } from "node:events";
import { CacheError, type Geometry, type MemberInfo, type ValueAnswer, type ValueCall, type ValueEntry } from "@frontcache/proto";
import { LinkedAbort } from "@frontcache/proto/runtime";
import type { Clock } from "../runtime/clock.js";
import type { Log } from "../runtime/log.js";
import type { BlockStore } from "../storage/block-store.js";
import type { Disk } from "../storage/disk/disk.js";
import { HybridClock } from "./hybrid-clock.js";
import { Journal } from "./journal.js";
import { SpanSet } from "./span-set.js";
import { compareBytes, type HeldEntry } from "./value-entries.js";
import { deletedEntry, entryOf, expiryOf, infoOf, isLive, KEEP_DELETED_MS } from "./value-entry.js";
import { ValueHolder } from "./value-holder.js";
import { Placement, type ValueMembers } from "./value-members.js";
import { LocalValueRead, PiecewiseRead, READ_PIECE_BYTES, spanOf } from "./value-reads.js";
import { ValueService } from "./value-service.js";
import { ValueSync } from "./value-sync.js";
import { conflictOf, OlderVersion, ValueWriter, WRITE_PIECE_BYTES } from "./value-writer.js";
import {
  type BeginRequest,
  type Completion,
  type ConflictReason,
  checkDescription,
  checkSize,
  type ListRequest,
  type LockRequest,
  type MonitorRequest,
  type OpenRequest,
  type PutRequest,
  parseValueUrl,
  type ValueDescription,
  type ValueEvent,
  type ValueInfo,
  type ValueList,
  type ValueRead,
  type ValueRequest,
  type ValueStats,
  type Values,
} from "./values.js";

/** A bucket of values. */
export interface ValueBucket {
  readonly name: string;
  /** How long values live by default, seconds; 0: for ever. */
  readonly ttlSeconds: number;
}

/** The bucket of parts of multipart uploads that are not completed. Clients do not see it. */
export const MULTIPART_BUCKET = "frontcache-multipart";

export interface ReplicatedValuesOptions {
  readonly buckets: readonly ValueBucket[];
  /** Copies of each value. */
  readonly replicas: number;
  readonly members: ValueMembers;
  readonly store: BlockStore;
  readonly geometry: Geometry;
  readonly clock: Clock;
  readonly log: Log;
  readonly disk: Disk;
  /** Of the journal. */
  readonly directory: string;
  /** Identifies this process among all of this member. */
  readonly epoch: string;
}

/** A write is repeated as often with a larger version. */
const MOST_ATTEMPTS = 5;
const MULTIPART_TTL_SECONDS = 86_400;
/** Between two sweeps. */
const SWEEP_MS = 1_000;
/** Between two signs of life in the journal. */
const ALIVE_MS = 60_000;

/** The values of a cluster: each is kept by the first members on the ring at its URL. Any member answers any request. */
export class ReplicatedValues implements Values {
  readonly #options: ReplicatedValuesOptions;
  readonly #buckets: ReadonlyMap<string, ValueBucket>;
  readonly #versions: HybridClock;
  readonly #holder: ValueHolder;
  readonly #placement: Placement;
  readonly #sync: ValueSync;
  readonly #journal: Journal;
  readonly #closing = new AbortController();
  readonly #counts = { hits: 0, misses: 0, bytesRead: 0, bytesWritten: 0, inserts: 0, deletes: 0, underReplicated: 0 };
  readonly #cancelTimers = new Set<() => void>();
  readonly #running = new Set<Promise<void>>();
  /** What other members ask. */
  readonly service: ValueService;

  private constructor(options: ReplicatedValuesOptions, journal: Journal, own: OwnParts) {
    setMaxListeners(0, this.#closing.signal);
    this.#options = options;
    const multipart = { name: MULTIPART_BUCKET, ttlSeconds: MULTIPART_TTL_SECONDS };
    this.#buckets = new Map([...options.buckets, multipart].map((bucket) => [bucket.name, bucket]));
    this.#journal = journal;
    this.#versions = own.versions;
    this.#holder = own.holder;
    const { members, replicas, clock, epoch } = options;
    this.#placement = new Placement(members, replicas);
    const [placement, versions, holder] = [this.#placement, this.#versions, this.#holder];
    this.#sync = new ValueSync({ holder, members, placement, versions, clock, signal: this.#closing.signal });
    this.service = new ValueService({ holder, members, placement, versions, freshness: this.#sync, epoch });
    this.#sync.start(this.service);
    own.onGone = (held, why) => this.#gone(held, why);
  }

  /** Recovers the values of this member from its volumes. */
  static async open(options: ReplicatedValuesOptions): Promise<ReplicatedValues> {
    const { store, geometry, clock, log, disk, directory, members } = options;
    const versions = new HybridClock(clock, members.self);
    const own: OwnParts = {
      versions,
      holder: new ValueHolder({ store, geometry, clock, versions, onGone: (held, why) => own.onGone(held, why) }),
      onGone: () => {},
    };
    const { entries, blocks } = own.holder;
    const current = () => entries.values();
    const { journal, content } = await Journal.open({ disk, directory, clock, log, current });
    const isLongAway = content.aliveMs > 0 && clock.nowMs() - content.aliveMs > KEEP_DELETED_MS;
    if (isLongAway && content.records.size > 0) {
      const fields = { event: "values-dropped", values: content.records.size, lastAliveMs: content.aliveMs };
      log.warn(
        fields,
        "this member was away for more than 24 hours: its values are dropped, because others may have deleted them",
      );
    }
    for (const { entry } of content.records.values()) {
      try {
        versions.observe(entry.version);
      } catch {
        // The clock was set back by more than a day: later versions are larger anyhow when it is right again.
      }
    }
    entries.recover(isLongAway ? [] : content.records.values(), journal);
    const live = [...entries.values()].filter(({ entry }) => !entry.deleted);
    await blocks.removeUnknown(live.map(({ entry, stored }) => ({ url: entry.url, stored })));
    const values = new ReplicatedValues(options, journal, own);
    journal.alive();
    values.#every(SWEEP_MS, () => own.holder.sweep());
    values.#every(ALIVE_MS, async () => journal.alive());
    values.#every(values.#sync.intervalMs, () => values.#sync.round());
    return values;
  }

  async close(): Promise<void> {
    this.#closing.abort(new CacheError("UNAVAILABLE", "the member is closing"));
    for (const cancel of this.#cancelTimers) cancel();
    this.#cancelTimers.clear();
    this.service.close();
    await Promise.all(this.#running);
    await this.#holder.close();
    await this.#journal.close();
  }

  get buckets(): readonly ValueBucket[] {
    return this.#options.buckets;
  }

  async put(request: PutRequest, body: Uint8Array | AsyncIterable<Uint8Array>): Promise<ValueInfo> {
    const { url, ifNoneMatch, whileWritten, signal } = request;
    const bucket = this.#check(request);
    const size = body instanceof Uint8Array ? body.length : request.size;
    if (size !== undefined) checkSize(url, size, 0);
    if (request.size !== undefined && request.size !== size) {
      throw new CacheError("INVALID_ARGUMENT", `${url}: the body has ${size} bytes instead of ${request.size}`);
    }
    const whole =
      body instanceof Uint8Array
        ? body
        : size !== undefined && size <= WRITE_PIECE_BYTES
          ? await gather(url, body, size)
          : undefined;
    const isWhole = whole !== undefined && whole.length <= WRITE_PIECE_BYTES;
    let hasReported = false;
    for (let attempt = 1; ; attempt++) {
      const entry = entryOf(
        { url, version: this.#versions.next(), size: size ?? 0, nowMs: this.#nowMs },
        request,
        bucket.ttlSeconds,
      );
      const writer = this.#writer(entry, { signal, isSized: size !== undefined, isExclusive: ifNoneMatch === "*", whileWritten });
      try {
        await writer.begin(isWhole ? whole : undefined);
      } catch (error) {
        if (!(error instanceof OlderVersion) || attempt === MOST_ATTEMPTS) throw error;
        if (error.largest !== "") this.#versions.observe(error.largest);
        continue;
      }
      if (!hasReported) this.service.report({ event: "insert", url });
      hasReported = true;
      let written = size ?? 0;
      if (!isWhole) {
        try {
          written = await writer.send(whole === undefined ? (body as AsyncIterable<Uint8Array>) : inPieces(whole));
          await writer.commit(written);
        } catch (error) {
          await writer.abandon();
          throw CacheError.from(error);
        }
      }
      this.#counts.bytesWritten += written;
      return this.#ready({ ...entry, size: written, present: true }, writer.written, writer.failed);
    }
  }

  open(request: OpenRequest): ValueRead | Promise<ValueRead> {
    const { url, offset, length, follow, version } = request;
    this.#bucketOf(url);
    if (!Number.isSafeInteger(offset) || offset < 0 || (length !== undefined && !(length >= 0))) {
      throw new CacheError("INVALID_ARGUMENT", `${url}: a range begins at a byte and has a length`);
    }
    if (follow === true) return this.#openSlowly(request);
    // What follows is the path of a hot read: without another member, without a promise.
    if (!this.#sync.isSettled(url)) return this.#openSlowly(request);
    const held = this.#holder.readable(url);
    if (held !== undefined) return this.#openHeld(held, offset, length, version);
    if (this.#holder.entries.live(url, this.#nowMs) !== undefined) return this.#openSlowly(request);
    throw this.#missing(url);
  }

  /** As `open`, for another member: never asks a third one for bytes that it does not take over itself. */
  async openHere({ url, offset, length, version, signal }: OpenRequest): Promise<ValueRead> {
    const held = await this.service.ensure(url, signal);
    if (held === undefined) throw this.#missing(url);
    return this.#openHeld(held, offset, length, version);
  }

  async head({ url, signal }: ValueRequest): Promise<ValueInfo | undefined> {
    this.#bucketOf(url);
    const read = { url, version: "", offset: 0, length: 0, follow: false };
    const answer = await this.#askFirst(url, { read }, signal);
    const entry = answer?.entries[0];
    return entry === undefined ? undefined : infoOf(entry);
  }

  async delete({ url, signal }: ValueRequest): Promise<boolean> {
    this.#bucketOf(url);
    for (let attempt = 1; ; attempt++) {
      const version = this.#versions.next();
      const offer = { entries: [deletedEntry(url, version)], client: true };
      const answers = (await this.#askAll(url, { offer }, signal, true)).answers;
      const conflict = answers.find((answer) => answer.conflict !== "");
      if (conflict !== undefined) throw conflictOf(url, conflict.conflict as ConflictReason);
      const largest =
        answers
          .map((answer) => answer.largest)
          .sort()
          .at(-1) ?? "";
      if (largest > version && attempt < MOST_ATTEMPTS) {
        this.#versions.observe(largest);
        continue;
      }
      const existed = answers.some((answer) => answer.existed);
      if (existed) {
        this.#counts.deletes++;
        this.service.report({ event: "delete", url });
      }
      return existed;
    }
  }

  async list(request: ListRequest): Promise<ValueList> {
    const { bucket, prefix, limit, signal } = request;
    this.#bucketOf(`cache://${bucket}/${prefix === "" ? "-" : prefix}`);
    const root = `cache://${bucket}/`;
    const values: ValueInfo[] = [];
    for (let { after } = request; ; ) {
      const list = { bucket, prefix, after, limit: 200 };
      const pages = await Promise.all(
        this.#options.members.members.map((member) => this.service.ask(member, { list }, signal).catch(() => undefined)),
      );
      signal.throwIfAborted();
      const known = new Map<string, ValueEntry>();
      // Behind the last value of a page that is cut, that member may have more.
      let until: string | undefined;
      for (const page of pages) {
        for (const entry of page?.entries ?? []) {
          const other = known.get(entry.url);
          if (other === undefined || other.version < entry.version) known.set(entry.url, entry);
        }
        const last = page?.ended === false ? page.entries.at(-1)?.url : undefined;
        if (last !== undefined && (until === undefined || compareBytes(last, until) < 0)) until = last;
      }
      const urls = [...known.keys()].filter((url) => until === undefined || compareBytes(url, until) <= 0).sort(compareBytes);
      for (const url of urls) {
        const entry = known.get(url)!;
        if (!isLive(entry, this.#nowMs)) continue;
        if (values.length === limit) return { values, isTruncated: true };
        values.push(infoOf(entry));
      }
      if (until === undefined) return { values, isTruncated: false };
      after = until.slice(root.length);
    }
  }

  async begin(request: BeginRequest): Promise<void> {
    const { url, size, exclusive, signal } = request;
    const bucket = this.#check(request);
    checkSize(url, size, 1);
    for (let attempt = 1; ; attempt++) {
      const entry = entryOf({ url, version: this.#versions.next(), size, nowMs: this.#nowMs }, request, bucket.ttlSeconds);
      const options = { signal, isSized: true, isExclusive: exclusive, isUpload: true, whileWritten: undefined };
      try {
        await this.#writer(entry, options).begin();
        this.service.report({ event: "insert", url });
        return;
      } catch (error) {
        if (!(error instanceof OlderVersion) || attempt === MOST_ATTEMPTS) throw error;
        this.#versions.observe(error.largest);
      }
    }
  }

  async writeRange(
    { url, signal }: ValueRequest,
    offset: number,
    bytes: Uint8Array | AsyncIterable<Uint8Array>,
  ): Promise<Completion> {
    this.#bucketOf(url);
    if (!Number.isSafeInteger(offset) || offset < 0) throw new CacheError("INVALID_ARGUMENT", `${url}: ${offset} is no offset`);
    let at = offset;
    let answers: readonly ValueAnswer[] = [];
    const write = async (piece: Uint8Array): Promise<void> => {
      const data = Buffer.from(piece);
      answers = (await this.#askAll(url, { write: { url, version: "", offset: at, data } }, signal)).answers;
      at += piece.length;
      this.#counts.bytesWritten += piece.length;
    };
    for await (const piece of bytes instanceof Uint8Array ? [bytes] : bytes) {
      for (const part of inPiecesNow(piece)) await write(part);
    }
    if (at === offset) await write(new Uint8Array());
    return completionOf(answers);
  }

  async completion({ url, signal }: ValueRequest): Promise<Completion | undefined> {
    this.#bucketOf(url);
    const { answers } = await this.#askAll(url, { lookUp: { urls: [url] } }, signal);
    const running = answers.filter(({ upload }) => upload !== undefined);
    return running.length === 0 ? undefined : completionOf(running);
  }

  async finalize(request: ValueRequest & { readonly ttlSeconds?: number | undefined }): Promise<ValueInfo> {
    const { url, ttlSeconds, signal } = request;
    this.#check(request);
    const version = this.#versions.next();
    const expiresMs = ttlSeconds === undefined ? 0 : expiryOf(ttlSeconds, this.#nowMs);
    const commit = { url, version, size: 0, expires: ttlSeconds !== undefined, expiresMs, upload: true };
    const { answers, members, failed } = await this.#askAll(url, { commit }, signal);
    const done = answers.find(({ conflict }) => conflict === "");
    if (done?.upload === undefined) {
      const { conflict } = answers[0]!;
      throw conflictOf(url, conflict as ConflictReason, conflict === "incomplete" ? completionOf(answers) : undefined);
    }
    const written = members.filter((_, i) => answers[i]!.conflict === "");
    // A member that lacks bytes copies the value.
    const incomplete = members.filter((_, i) => answers[i]!.conflict !== "");
    const abandon = { url, version: "" };
    await Promise.all(incomplete.map((member) => this.service.ask(member, { abandon }, signal).catch(() => {})));
    const entry = { ...done.upload, version, present: true };
    return this.#ready(ttlSeconds === undefined ? entry : { ...entry, expiresMs }, written, [...failed, ...incomplete]);
  }

  async abort({ url }: ValueRequest): Promise<void> {
    this.#bucketOf(url);
    const { signal } = new AbortController();
    await this.#askAll(url, { abandon: { url, version: "" } }, signal);
  }

  async lock({ url, holder, seconds, signal }: LockRequest): Promise<number> {
    this.#bucketOf(url);
    if (!(seconds >= 1)) throw new CacheError("INVALID_ARGUMENT", `${url}: a lock lasts at least a second`);
    const { answers } = await this.#askAll(url, { lock: { url, holder, seconds: Math.floor(seconds) } }, signal);
    return Math.min(...answers.map(({ endsMs }) => endsMs));
  }

  async unlock({ url, holder, signal }: Omit<LockRequest, "seconds">): Promise<void> {
    this.#bucketOf(url);
    await this.#askAll(url, { lock: { url, holder, seconds: 0 } }, signal);
  }

  async *monitor(request: MonitorRequest): AsyncGenerator<ValueEvent> {
    const { bucket, prefix } = request;
    this.#bucketOf(`cache://${bucket}/-`);
    const { members } = this.#options;
    const watching = new LinkedAbort(request.signal);
    const monitor = this.service.monitors.watch({ bucket, prefix, signal: watching.signal });
    // Events come from the members that took the requests. A member that joins is watched from then on.
    const watched = new Set<string>();
    const watchAll = (): void => {
      for (const member of members.members) {
        if (this.#placement.isSelf(member) || watched.has(member.name)) continue;
        watched.add(member.name);
        const onEvent = ({ event, url, entry }: { event: string; url: string; entry?: ValueEntry | undefined }): void => {
          monitor.push({ event: event as ValueEvent["event"], url, ...(entry !== undefined && { info: infoOf(entry) }) });
        };
        members.watch(member, { bucket, prefix }, onEvent, watching.signal).then(
          () => watched.delete(member.name),
          () => watched.delete(member.name),
        );
      }
    };
    watchAll();
    const cancel = this.#every(SWEEP_MS, async () => watchAll());
    try {
      yield* monitor;
    } finally {
      cancel();
      watching.abort(new CacheError("CANCELLED", "the monitor has ended"));
      watching.unlink();
    }
  }

  stats(): ValueStats {
    const { hits, misses, bytesRead, bytesWritten, inserts, deletes, underReplicated } = this.#counts;
    const { evictions, expirations, lost } = this.#holder.counts;
    let [entries, sizeBytes] = [0, 0];
    for (const { entry } of this.#holder.entries.values()) {
      if (!entry.present || !isLive(entry, this.#nowMs)) continue;
      entries++;
      sizeBytes += entry.size;
    }
    return {
      ...{ hits, misses, bytesRead, bytesWritten, inserts, deletes, evictions, expirations, lost, underReplicated },
      repaired: this.service.repaired,
      entries,
      sizeBytes,
      capacityBytes: this.#holder.blocks.space().limitBytes,
      writers: this.#holder.writers,
      locks: this.#holder.locks.size,
    };
  }

  /** Values of this member that the others should have and do not have yet. For tests and the status. */
  get waitingCopies(): number {
    return this.#sync.waiting;
  }

  async #openSlowly(request: OpenRequest): Promise<ValueRead> {
    const { url, offset, length, version, signal } = request;
    const follow = request.follow === true;
    let failure: CacheError | undefined;
    for (const member of this.#placement.holders(url)) {
      try {
        if (this.#placement.isSelf(member)) {
          const held = await this.service.ensure(url, signal);
          if (held !== undefined) return this.#openHeld(held, offset, length, version);
          if (follow && this.#holder.writerOf(url) !== undefined) return await this.#openPiecewise(member, request);
          if (!follow) throw this.#missing(url);
        } else return await this.#openPiecewise(member, request);
      } catch (error) {
        failure = CacheError.from(error);
        const mayBeElsewhere =
          failure.code === "UNAVAILABLE" || failure.code === "DEADLINE_EXCEEDED" || (follow && failure.code === "NOT_FOUND");
        if (!mayBeElsewhere) break;
      }
    }
    signal.throwIfAborted();
    if (failure === undefined || failure.code === "NOT_FOUND") throw this.#missing(url);
    throw failure;
  }

  #openHeld(held: HeldEntry, offset: number, length: number | undefined, version: string | undefined): ValueRead {
    const { url, size } = held.entry;
    if (version !== undefined && version !== held.entry.version) throw otherVersion(url, held.entry.version);
    const span = spanOf(url, offset, length, size);
    this.#counts.hits++;
    return new LocalValueRead(held, span, this.#holder.blocks, this.#count);
  }

  /** A read of another member's value, or of one that is being written. */
  async #openPiecewise(
    member: MemberInfo,
    { url, offset, length, follow = false, version, signal }: OpenRequest,
  ): Promise<ValueRead> {
    const most = Math.min(length ?? READ_PIECE_BYTES, READ_PIECE_BYTES);
    const ask = (from: number, bytes: number, of: string): Promise<ValueAnswer> =>
      this.service.ask(member, { read: { url, version: of, offset: from, length: bytes, follow } }, signal, FOLLOW_TIMEOUT_MS);
    const answer = await ask(offset, most, "");
    const [entry] = answer.entries;
    if (entry === undefined) throw new CacheError("INTERNAL", `${url}: member ${member.name} answered without an entry`);
    if (version !== undefined && version !== entry.version) throw otherVersion(url, entry.version);
    this.#counts.hits++;
    const isWhole = entry.present;
    const size = isWhole || entry.size > 0 ? Math.max(entry.size, isWhole ? answer.size : 0) : undefined;
    const span = size === undefined ? undefined : spanOf(url, offset, length, size);
    return new PiecewiseRead({
      info: infoOf({ ...entry, size: size ?? answer.size }),
      offset,
      length: span === undefined ? length : span.end - span.start,
      first: { data: answer.data, ended: answer.ended },
      fetch: async (from, bytes) => {
        const { data, ended } = await ask(from, Math.min(bytes, READ_PIECE_BYTES), entry.version);
        return { data, ended };
      },
      onBytes: this.#count,
    });
  }

  readonly #count = (bytes: number): void => {
    this.#counts.bytesRead += bytes;
  };

  #writer(
    entry: ValueEntry,
    options: Pick<ConstructorParameters<typeof ValueWriter>[0], "signal" | "isSized" | "isExclusive" | "whileWritten"> & {
      isUpload?: boolean;
    },
  ): ValueWriter {
    const holders = this.#placement.holders(entry.url);
    const { clock } = this.#options;
    return new ValueWriter({ isUpload: false, ...options, service: this.service, clock, entry, holders });
  }

  /** A value is written: members that could not take it learn that theirs is older. */
  async #ready(entry: ValueEntry, written: readonly MemberInfo[], failed: readonly MemberInfo[]): Promise<ValueInfo> {
    const { url } = entry;
    this.#counts.inserts++;
    if (written.length < this.#placement.copies) this.#counts.underReplicated++;
    const { members } = this.#options;
    const outdated = [...failed, ...members.earlier(url).filter(({ name }) => written.every((member) => member.name !== name))];
    const offer = { entries: [{ ...entry, present: false }], client: false };
    const told = outdated.filter((member) => !this.#placement.isSelf(member));
    await Promise.all(
      told.map((member) => this.service.ask(member, { offer }, this.#closing.signal, NOTICE_TIMEOUT_MS).catch(() => {})),
    );
    const info = infoOf(entry);
    this.service.report({ event: "ready", url, info });
    return info;
  }

  /** The first holder's answer; undefined: NOT_FOUND. */
  async #askFirst(url: string, step: Partial<ValueCall>, signal: AbortSignal): Promise<ValueAnswer | undefined> {
    let failure: CacheError | undefined;
    for (const member of this.#placement.holders(url)) {
      try {
        return await this.service.ask(member, step, signal);
      } catch (error) {
        failure = CacheError.from(error);
        if (failure.code === "NOT_FOUND") return undefined;
        if (failure.code !== "UNAVAILABLE" && failure.code !== "DEADLINE_EXCEEDED") throw failure;
      }
    }
    signal.throwIfAborted();
    throw failure ?? new CacheError("UNAVAILABLE", `${url}: no member can be reached`);
  }

  /** The answers of all holders that can be reached, at least one. Rejects if none answers. `alsoEarlier`: and of earlier holders. */
  async #askAll(url: string, step: Partial<ValueCall>, signal: AbortSignal, alsoEarlier = false): Promise<Answers> {
    const asked = new Map(this.#placement.holders(url).map((member) => [member.name, member]));
    if (alsoEarlier) for (const member of this.#options.members.earlier(url)) asked.set(member.name, member);
    const [answers, members, failed]: [ValueAnswer[], MemberInfo[], MemberInfo[]] = [[], [], []];
    const failures: CacheError[] = [];
    await Promise.all(
      [...asked.values()].map(async (member) => {
        try {
          const answer = await this.service.ask(member, step, signal);
          answers.push(answer);
          members.push(member);
        } catch (error) {
          failures.push(CacheError.from(error));
          failed.push(member);
        }
      }),
    );
    signal.throwIfAborted();
    if (answers.length === 0) throw failures.find(({ code }) => code !== "UNAVAILABLE") ?? failures[0] ?? this.#missing(url);
    return { answers, members, failed };
  }

  #check(request: ValueRequest & ValueDescription): ValueBucket {
    const bucket = this.#bucketOf(request.url);
    checkDescription(request.url, request);
    request.signal.throwIfAborted();
    return bucket;
  }

  #bucketOf(url: string): ValueBucket {
    const { bucket } = parseValueUrl(url);
    const declared = this.#buckets.get(bucket);
    if (declared !== undefined) return declared;
    const message = `cache://${bucket}: no such bucket: declare it by --cache-bucket`;
    throw new CacheError("NOT_FOUND", message, { s3Code: "NoSuchBucket" });
  }

  #missing(url: string): CacheError {
    this.#counts.misses++;
    return new CacheError("NOT_FOUND", `${url}: no such value`);
  }

  /** Once for all members: the first holder reports it. */
  #gone({ entry }: HeldEntry, why: "expired" | "lost"): void {
    if (why === "expired" && this.#placement.holders(entry.url)[0]?.name === this.#options.members.self) {
      this.service.report({ event: "delete", url: entry.url });
    }
  }

  get #nowMs(): number {
    return this.#options.clock.nowMs();
  }

  /** Repeats work until the member closes, never twice at a time. The returned function ends it. */
  #every(intervalMs: number, work: () => Promise<void>): () => void {
    let cancel = (): void => {};
    let isOver = false;
    const next = (): void => {
      this.#cancelTimers.delete(cancel);
      if (isOver || this.#closing.signal.aborted) return;
      cancel = this.#options.clock.after(intervalMs, () => {
        const running = work().catch((error: unknown) => {
          if (this.#closing.signal.aborted) return;
          this.#options.log.error({ event: "value-upkeep-failed", err: error }, "cannot look after the values of this member");
        });
        this.#running.add(running);
        void running.then(() => {
          this.#running.delete(running);
          next();
        });
      });
      this.#cancelTimers.add(cancel);
    };
    next();
    return () => {
      isOver = true;
      cancel();
      this.#cancelTimers.delete(cancel);
    };
  }
}

/** Answers of members, in the same order as the members. */
interface Answers {
  readonly answers: readonly ValueAnswer[];
  readonly members: readonly MemberInfo[];
  readonly failed: readonly MemberInfo[];
}

interface OwnParts {
  readonly versions: HybridClock;
  readonly holder: ValueHolder;
  onGone(held: HeldEntry, why: "expired" | "lost"): void;
}

/** A reader that follows a writer waits as long for its bytes. */
const FOLLOW_TIMEOUT_MS = 120_000;
/** A member that failed is told of the newer version in this time, or learns of it by itself. */
const NOTICE_TIMEOUT_MS = 1_000;

function otherVersion(url: string, version: string): CacheError {
  return new CacheError("FAILED_PRECONDITION", `${url}: the value has version ${version}`);
}

/** What all members have of an upload. */
function completionOf(answers: readonly ValueAnswer[]): Completion {
  const size = Math.max(0, ...answers.map(({ upload }) => upload?.size ?? 0));
  const missing = new SpanSet();
  for (const { present } of answers) {
    const spans = new SpanSet();
    for (const { start, end } of present) spans.add(start, end);
    for (const { start, end } of spans.missing(size)) missing.add(start, end);
  }
  const both = new SpanSet();
  for (const { start, end } of missing.missing(size)) both.add(start, end);
  return both.completion(size);
}

/** A body of known size in memory. */
async function gather(url: string, body: AsyncIterable<Uint8Array>, size: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of body) {
    bytes += piece.length;
    if (bytes > size) break;
    pieces.push(Buffer.from(piece));
  }
  if (bytes === size) return Buffer.concat(pieces);
  const message = `${url}: the body has ${bytes > size ? "more" : "fewer"} than the ${size} bytes announced`;
  throw new CacheError("INVALID_ARGUMENT", message, { s3Code: "IncompleteBody" });
}

function* inPiecesNow(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += WRITE_PIECE_BYTES) yield bytes.subarray(at, at + WRITE_PIECE_BYTES);
}

async function* inPieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield* inPiecesNow(bytes);
}
