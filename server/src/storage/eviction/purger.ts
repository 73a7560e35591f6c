import { forEachConcurrent, SingleFlight } from "@frontcache/proto/runtime";
import type { Clock } from "../../runtime/clock.js";
import type { Log } from "../../runtime/log.js";
import type { BlockIndex } from "../block-index.js";
import type { BucketShare, BucketShares } from "../bucket-share.js";
import type { CachedBlock } from "../cached-block.js";
import type { Disk } from "../disk/disk.js";
import type { PurgeReport, PurgeRun, Victim } from "../storage-report.js";
import { type Extent, NOTHING, type Resource, type Volume } from "../volume.js";
import type { BlockRemover } from "./block-remover.js";
import type { EvictionPolicy } from "./eviction-policy.js";

export interface PurgerOptions {
  readonly volumes: readonly Volume[];
  readonly index: Pick<BlockIndex, "on">;
  readonly shares: BucketShares;
  readonly remover: BlockRemover;
  readonly recency: RecencyKeeper;
  readonly clock: Clock;
  readonly log: Log;
  readonly intervalMs: number;
}

/** Concurrent removals per volume. */
const REMOVALS = 4;

/** Keeps the volumes below their watermarks, buckets within their shares, and the files' times close to the blocks' last uses. */
export class Purger {
  readonly #options: PurgerOptions;

  readonly #running = new SingleFlight<Volume, PurgeReport>();
  readonly #runningShares = new SingleFlight<BucketShare, PurgeRun>();
  #cancelTick: (() => void) | undefined;
  #tick: Promise<void> | undefined;
  readonly #listeners = new Set<(report: PurgeRun) => void>();
  #closed = false;
  #blocks = 0;
  #bytes = 0;
  /** Evictions included in the last summary in the log. */
  #summedUp = { blocks: 0, bytes: 0 };
  /** What the volumes lacked; `share`: a bucket had used its share. */
  readonly #reasons = new Set<Resource | "share">();

  constructor(options: PurgerOptions) {
    this.#options = options;
  }

  /** Evictions since the start. */
  get evicted(): { readonly blocks: number; readonly bytes: number } {
    return { blocks: this.#blocks, bytes: this.#bytes };
  }

  /** Calls back after each run over a volume or a bucket. The returned function ends the subscription. */
  onPurged(listener: (report: PurgeRun) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  start(): void {
    if (this.#closed) return;
    this.#cancelTick = this.#options.clock.after(this.#options.intervalMs, () => {
      this.#tick = this.tick().then(() => this.start());
    });
  }

  /** Stops the interval; resolves when running work has ended. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelTick?.();
    await this.#tick;
    await this.#running.settled();
    await this.#runningShares.settled();
    this.#sumUp();
  }

  /**
   * The work of each interval: measures the file systems, retries removals, evicts from volumes over their high watermark, writes
   * times.
   */
  async tick(): Promise<void> {
    await Promise.all(this.#options.volumes.map((volume) => this.#tend(volume)));
    await this.tendShares();
    this.#sumUp();
  }

  /** Evicts from buckets that use more than their shares, pinned or not: shares may have become smaller. */
  async tendShares(): Promise<void> {
    const exceeded = [...this.#options.shares].filter(({ excessBytes }) => excessBytes > 0);
    await Promise.all(exceeded.map((share) => this.purgeShare(share, 0)));
  }

  /** One line per interval for all purges: a full volume has several per second. */
  #sumUp(): void {
    const [blocks, bytes] = [this.#blocks - this.#summedUp.blocks, this.#bytes - this.#summedUp.bytes];
    if (blocks === 0) return;
    this.#summedUp = { blocks: this.#blocks, bytes: this.#bytes };
    const volumes = this.#options.volumes.map(({ path, usedBytes, limitBytes }) => ({ path, usedBytes, limitBytes }));
    const reasons = [...this.#reasons];
    this.#reasons.clear();
    this.#options.log.info({ event: "purged", blocks, bytes, reasons, volumes }, "evicted blocks since the last line");
  }

  async #tend(volume: Volume): Promise<void> {
    if (!volume.health.isInUse) return;
    await volume.refreshSpace();
    await this.#options.remover.retryStuck(volume);
    if (volume.exceeded.length > 0) await this.purge(volume, NOTHING);
    else volume.health.roomFreed();
    await this.#options.recency.refresh(volume);
    const { path, usedBytes, reservedBytes, limitBytes } = volume;
    const { state } = volume.health;
    const report = {
      volume: path,
      state,
      blocks: this.#options.index.on(volume).count.blocks,
      usedBytes,
      reservedBytes,
      limitBytes,
    };
    this.#options.log.debug({ event: "volume", ...report }, "usage of a volume");
  }

  /**
   * Evicts from a volume until it is below its low watermark and the requested space is free. Joins a running purge. Never
   * rejects.
   */
  purge(volume: Volume, requested: Extent): Promise<PurgeReport> {
    return this.#running.run(volume, () => this.#purge(volume, requested));
  }

  /** Evicts blocks of a bucket until the requested bytes fit into its share. Joins a running purge. Never rejects. */
  purgeShare(share: BucketShare, requestedBytes: number): Promise<PurgeRun> {
    return this.#runningShares.run(share, async () => {
      const { clock, log } = this.#options;
      const began = clock.monotonicMs();
      const { victims, bytes } = await this.#evict(share.order, { bytes: share.excessFor(requestedBytes), files: 0 });
      const blocks = victims.length;
      if (blocks > 0) this.#count(blocks, bytes, ["share"]);
      const report = { blocks, bytes, durationMs: clock.monotonicMs() - began };
      log.debug({ event: "purge", reasons: ["share"], bucket: share.url, ...report }, "one run over a bucket");
      const run = { ...report, victims };
      for (const listener of this.#listeners) listener(run);
      return run;
    });
  }

  #count(blocks: number, bytes: number, reasons: Iterable<Resource | "share">): void {
    this.#blocks += blocks;
    this.#bytes += bytes;
    for (const reason of reasons) this.#reasons.add(reason);
  }

  async #purge(volume: Volume, requested: Extent): Promise<PurgeReport> {
    const { clock, log } = this.#options;
    const began = clock.monotonicMs();
    await volume.refreshSpace();
    const { free } = volume;
    const excess = {
      bytes: Math.max(volume.excess.bytes, requested.bytes - free.bytes),
      files: Math.max(volume.excess.files, requested.files - free.files),
    };
    const reasons = volume.shortOf(requested);
    const { victims, bytes } = await this.#evict(this.#options.index.on(volume).order, excess);
    const blocks = victims.length;
    if (blocks > 0) {
      await volume.refreshSpace();
      volume.health.roomFreed();
      this.#count(blocks, bytes, reasons);
    }
    const durationMs = clock.monotonicMs() - began;
    const report = { volume: volume.path, blocks, bytes, durationMs, usedBytes: volume.usedBytes, limitBytes: volume.limitBytes };
    log.debug({ event: "purge", reasons, ...report }, "one run over a volume");
    const purged = { ...report, victims };
    for (const listener of this.#listeners) listener(purged);
    return purged;
  }

  /** Evicts blocks that no read uses, in the order of eviction, until the excess is freed. Resolves with them and their bytes. */
  async #evict(
    order: EvictionPolicy<CachedBlock>,
    excess: Extent,
  ): Promise<{ readonly victims: readonly Victim[]; readonly bytes: number }> {
    const nowMs = this.#options.clock.nowMs();
    const evicted: Victim[] = [];
    let bytes = 0;
    const isEnough = (): boolean => (bytes >= excess.bytes && evicted.length >= excess.files) || this.#closed;
    await forEachConcurrent(victims(order, isEnough), REMOVALS, async (block) => {
      // The wall clock may have been set back.
      const sinceMs = (thenMs: number): number => Math.max(0, nowMs - thenMs);
      evicted.push({ id: block.id, ageMs: sinceMs(block.firstUsedMs), idleMs: sinceMs(block.lastUsedMs) });
      bytes += block.chargedBytes;
      await this.#options.remover.retire(block).freed;
    });
    return { victims: evicted, bytes };
  }
}

function* victims(order: EvictionPolicy<CachedBlock>, isEnough: () => boolean): Generator<CachedBlock> {
  for (const block of order.victims()) {
    if (isEnough()) return;
    if (!block.isBusy) yield block;
  }
}

/** Concurrent updates of file times: fewer than the disk allows, so that reads have priority. */
const REFRESHES = 4;

export interface RecencyKeeperOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly index: Pick<BlockIndex, "on">;
}

/** Writes blocks' last uses into their files' times, so that they survive a restart. */
export class RecencyKeeper {
  readonly #options: RecencyKeeperOptions;

  constructor(options: RecencyKeeperOptions) {
    this.#options = options;
  }

  /**
   * Writes the times of blocks used since the last call, a few at a time. Stops at `untilMs` (monotonic) and at the
   * first error, because last uses are not important enough. The rest follows with the next call.
   */
  async refresh(volume: Volume, untilMs = Infinity): Promise<void> {
    const { used } = this.#options.index.on(volume);
    const due = [...used];
    used.clear();
    let isOver = false;
    await forEachConcurrent(due, REFRESHES, async (block) => {
      isOver ||= this.#options.clock.monotonicMs() > untilMs || !(await this.#refreshOne(block));
      if (isOver && !block.retired) used.add(block);
    });
  }

  async #refreshOne(block: CachedBlock): Promise<boolean> {
    if (block.retired) return true;
    const { gate } = block.volume;
    const { open, lastUsedMs } = block;
    open?.pin();
    try {
      if (open !== undefined) await gate.run(() => open.file.setModified(lastUsedMs));
      else await this.#refreshClosed(block);
      return true;
    } catch {
      return false;
    } finally {
      open?.unpin();
    }
  }

  #refreshClosed(block: CachedBlock): Promise<void> {
    return block.volume.gate.run(async () => {
      const file = await this.#options.disk.open(block.path, "read");
      try {
        await file.setModified(block.lastUsedMs);
      } finally {
        await file.close();
      }
    });
  }
}
