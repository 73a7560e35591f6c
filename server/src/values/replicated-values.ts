import { setMaxListeners } from "node:events";
import { CacheError, type Geometry } from "@frontcache/proto";
import type { Clock } from "../runtime/clock.js";
import type { Log } from "../runtime/log.js";
import type { BlockStore } from "../storage/block-store.js";
import type { Disk } from "../storage/disk/disk.js";
import { HolderCalls } from "./holder-calls.js";
import { HybridClock } from "./hybrid-clock.js";
import { Journal } from "./journal.js";
import { PeriodicWork } from "./periodic-work.js";
import { SparseUploads } from "./sparse-uploads.js";
import { type ValueBucket, ValueBuckets } from "./value-buckets.js";
import type { KnownEntry } from "./value-entries.js";
import { infoOf, isLive, KEEP_DELETED_MS } from "./value-entry.js";
import { monitorValues } from "./value-events.js";
import { ValueHolder } from "./value-holder.js";
import { listValues } from "./value-listing.js";
import { Placement, type ValueMembers } from "./value-members.js";
import { ValueOpening } from "./value-opening.js";
import { ValuePuts } from "./value-puts.js";
import { ANY_VERSION, ValueService } from "./value-service.js";
import { ValueSync } from "./value-sync.js";
import type {
  BeginRequest,
  Completion,
  ListRequest,
  LockRequest,
  MonitorRequest,
  OpenRequest,
  PutRequest,
  ValueEvent,
  ValueInfo,
  ValueList,
  ValueRead,
  ValueRequest,
  ValueStats,
  Values,
} from "./values.js";

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

/** Between two sweeps. */
const SWEEP_MS = 1_000;
/** Between two signs of life in the journal. */
const ALIVE_MS = 60_000;

/** The values of a cluster: each is kept by the first members on the ring at its URL. Any member answers any request. */
export class ReplicatedValues implements Values {
  readonly #options: ReplicatedValuesOptions;
  readonly #buckets: ValueBuckets;
  readonly #holder: ValueHolder;
  readonly #placement: Placement;
  readonly #sync: ValueSync;
  readonly #journal: Journal;
  readonly #closing = new AbortController();
  readonly #work: PeriodicWork;
  readonly #calls: HolderCalls;
  readonly #puts: ValuePuts;
  readonly #uploads: SparseUploads;
  readonly #opening: ValueOpening;
  /** What other members ask. */
  readonly service: ValueService;

  private constructor(options: ReplicatedValuesOptions, journal: Journal, own: OwnParts) {
    const closing = this.#closing.signal;
    setMaxListeners(0, closing);
    const { members, replicas, clock, epoch, log } = options;
    const { versions, holder } = own;
    this.#options = options;
    this.#journal = journal;
    this.#holder = holder;
    const buckets = new ValueBuckets(options.buckets);
    const placement = new Placement(members, replicas);
    const sync = new ValueSync({ holder, members, placement, versions, clock, signal: closing });
    const service = new ValueService({ holder, members, placement, versions, freshness: sync, epoch, closing });
    sync.start(service, holder.entries.size === 0);
    const calls = new HolderCalls({ members, placement, service, closing });
    const onFailure = (error: unknown): void =>
      log.error({ event: "value-upkeep-failed", err: error }, "cannot look after the values of this member");
    this.#work = new PeriodicWork({ clock, onFailure });
    this.#puts = new ValuePuts({ buckets, calls, service, placement, versions, clock });
    this.#uploads = new SparseUploads({ buckets, calls, service, placement, members, versions, clock });
    this.#opening = new ValueOpening({ buckets, holder, members, placement, service, freshness: sync });
    [this.#buckets, this.#placement, this.#sync, this.#calls, this.service] = [buckets, placement, sync, calls, service];
    own.onGone = (known, why) => this.#gone(known, why);
  }

  /** Recovers the values of this member from its volumes. */
  static async open(options: ReplicatedValuesOptions): Promise<ReplicatedValues> {
    const { store, geometry, clock, members } = options;
    const versions = new HybridClock(clock, members.self);
    const own: OwnParts = {
      versions,
      holder: new ValueHolder({ store, geometry, clock, onGone: (known, why) => own.onGone(known, why) }),
      onGone: () => {},
    };
    const journal = await recover(own, options);
    const values = new ReplicatedValues(options, journal, own);
    journal.alive();
    values.#work.every(SWEEP_MS, () => own.holder.sweep());
    values.#work.every(ALIVE_MS, async () => journal.alive());
    values.#work.every(values.#sync.intervalMs, () => values.#sync.round());
    values.#work.every(values.#sync.intervalMs, () => values.#sync.copy());
    return values;
  }

  async close(): Promise<void> {
    this.#closing.abort(new CacheError("UNAVAILABLE", "the member is closing"));
    await this.#work.close();
    await this.#holder.close();
    await this.#journal.close();
  }

  get buckets(): readonly ValueBucket[] {
    return this.#options.buckets;
  }

  put(request: PutRequest, body: Uint8Array | AsyncIterable<Uint8Array>): Promise<ValueInfo> {
    return this.#puts.put(request, body);
  }

  open(request: OpenRequest): ValueRead | Promise<ValueRead> {
    return this.#opening.open(request);
  }

  /** As `open`, for another member: never asks a third one for bytes that it does not take over itself. */
  openHere(request: OpenRequest): ValueRead | Promise<ValueRead> {
    return this.#opening.openHere(request);
  }

  /** `isCertain`: before the value counts as missing, each holder asks all members, also for what was written past it. Absent: no. */
  async head({
    url,
    signal,
    isCertain = false,
  }: ValueRequest & { readonly isCertain?: boolean }): Promise<ValueInfo | undefined> {
    this.#buckets.of(url);
    const read = { url, version: isCertain ? ANY_VERSION : "", offset: 0, length: 0, follow: false };
    const answer = await this.#calls.first(url, { read }, signal, isCertain);
    const entry = answer?.entries[0];
    return entry === undefined ? undefined : infoOf(entry);
  }

  delete(request: ValueRequest): Promise<boolean> {
    return this.#puts.delete(request);
  }

  async list(request: ListRequest): Promise<ValueList> {
    const { bucket, prefix } = request;
    this.#buckets.of(`cache://${bucket}/${prefix === "" ? "-" : prefix}`);
    const { members, clock } = this.#options;
    return listValues(request, { members, placement: this.#placement, service: this.service, clock });
  }

  begin(request: BeginRequest): Promise<void> {
    return this.#uploads.begin(request);
  }

  writeRange(request: ValueRequest, offset: number, bytes: Uint8Array | AsyncIterable<Uint8Array>): Promise<Completion> {
    return this.#uploads.writeRange(request, offset, bytes);
  }

  completion(request: ValueRequest): Promise<Completion | undefined> {
    return this.#uploads.completion(request);
  }

  finalize(request: ValueRequest & { readonly ttlSeconds?: number | undefined }): Promise<ValueInfo> {
    return this.#uploads.finalize(request);
  }

  abort(request: ValueRequest): Promise<void> {
    return this.#uploads.abort(request);
  }

  async lock({ url, holder, seconds, signal }: LockRequest): Promise<number> {
    this.#buckets.of(url);
    if (!(seconds >= 1)) throw new CacheError("INVALID_ARGUMENT", `${url}: a lock lasts at least a second`);
    const answers = await this.#calls.all(url, { lock: { url, holder, seconds: Math.floor(seconds) } }, signal);
    return Math.min(...answers.map(({ endsMs }) => endsMs));
  }

  async unlock({ url, holder, signal }: Omit<LockRequest, "seconds">): Promise<void> {
    this.#buckets.of(url);
    await this.#calls.all(url, { lock: { url, holder, seconds: 0 } }, signal);
  }

  monitor(request: MonitorRequest): AsyncIterable<ValueEvent> {
    this.#buckets.of(`cache://${request.bucket}/-`);
    const { monitors } = this.service;
    return monitorValues(request, { members: this.#options.members, monitors, work: this.#work });
  }

  stats(): ValueStats {
    const { evictions, expirations, lost } = this.#holder.counts;
    return {
      ...this.#calls.counts,
      ...this.#opening.counts,
      deletes: this.#puts.counts.deletes,
      bytesWritten: this.#puts.counts.bytesWritten + this.#uploads.counts.bytesWritten,
      ...{ evictions, expirations, lost },
      repaired: this.service.copies.repaired,
      ...this.#totals(),
      capacityBytes: this.#holder.blocks.space().limitBytes,
      writers: this.#holder.drafts.size,
      locks: this.#holder.locks.size,
    };
  }

  #totals(): Pick<ValueStats, "entries" | "sizeBytes"> {
    const nowMs = this.#options.clock.nowMs();
    let [entries, sizeBytes] = [0, 0];
    for (const { entry } of this.#holder.entries.values()) {
      if (!entry.present || !isLive(entry, nowMs)) continue;
      entries++;
      sizeBytes += entry.size;
    }
    return { entries, sizeBytes };
  }

  /** Once for all members: the first holder reports it. */
  #gone({ entry }: KnownEntry, why: "expired" | "lost"): void {
    if (why === "expired" && this.#placement.holders(entry.url)[0]?.name === this.#options.members.self) {
      this.service.report({ event: "delete", url: entry.url });
    }
  }
}

interface OwnParts {
  readonly versions: HybridClock;
  readonly holder: ValueHolder;
  onGone(known: KnownEntry, why: "expired" | "lost"): void;
}

/** Takes over the entries of the journal whose blocks are on the volumes, and removes all other blocks. */
async function recover({ holder, versions }: OwnParts, options: ReplicatedValuesOptions): Promise<Journal> {
  const { clock, log, disk, directory } = options;
  const { entries, blocks } = holder;
  const current = () => entries.values();
  const { journal, content } = await Journal.open({ disk, directory, clock, log, current });
  const { records, aliveMs } = content;
  const isLongAway = aliveMs > 0 && clock.nowMs() - aliveMs > KEEP_DELETED_MS;
  if (isLongAway && records.size > 0) {
    const message = "this member was away for more than 24 hours: its values are dropped, because others may have deleted them";
    log.warn({ event: "values-dropped", values: records.size, lastAliveMs: aliveMs }, message);
  }
  for (const { entry } of records.values()) {
    try {
      versions.observe(entry.version);
    } catch {
      // The clock was set back by more than a day: later versions are larger anyhow when it is right again.
    }
  }
  entries.recover(isLongAway ? [] : records.values(), journal);
  const live = [...entries.values()].filter(({ entry }) => !entry.deleted);
  await blocks.removeUnknown(live.map(({ entry, stored }) => ({ url: entry.url, stored })));
  return journal;
}
