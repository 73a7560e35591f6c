import { forEachConcurrent } from "@frontcache/proto/runtime";
import type { Clock } from "../../runtime/clock.js";
import type { Log } from "../../runtime/log.js";
import type { CachedBlock } from "../cached-block.js";
import type { PurgeReport, Victim } from "../storage-report.js";
import type { Volume } from "../volume.js";
import type { BlockRemover } from "./block-remover.js";
import type { RecencyKeeper } from "./recency-keeper.js";

export interface PurgerOptions {
  readonly volumes: readonly Volume[];
  readonly remover: BlockRemover;
  readonly recency: RecencyKeeper;
  readonly clock: Clock;
  readonly log: Log;
  readonly intervalMs: number;
}

/** Removals under way at a time on one volume. */
const REMOVALS = 4;

/** Keeps the volumes below their watermarks, and the files' times near the blocks'. */
export class Purger {
  readonly #running = new Map<Volume, Promise<PurgeReport>>();
  #cancelTick: (() => void) | undefined;
  #tick: Promise<void> | undefined;
  readonly #listeners = new Set<(report: PurgeReport) => void>();
  #closed = false;
  #blocks = 0;
  #bytes = 0;

  constructor(private readonly options: PurgerOptions) {}

  /** What it has evicted since the start. */
  get evicted(): { readonly blocks: number; readonly bytes: number } {
    return { blocks: this.#blocks, bytes: this.#bytes };
  }

  /** Calls back after each run over a volume. The returned function ends it. */
  onPurged(listener: (report: PurgeReport) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  start(): void {
    if (this.#closed) return;
    this.#cancelTick = this.options.clock.after(this.options.intervalMs, () => {
      this.#tick = this.tick().then(() => this.start());
    });
  }

  /** No more ticks; resolves when what runs is over. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelTick?.();
    await this.#tick;
    await Promise.all(this.#running.values());
  }

  /** What it does each interval: looks at the file systems, tidies up, evicts where a volume is over its high watermark, refreshes times. */
  async tick(): Promise<void> {
    await Promise.all(this.options.volumes.map((volume) => this.#tend(volume)));
  }

  async #tend(volume: Volume): Promise<void> {
    await volume.refreshSpace();
    await this.options.remover.retryStuck(volume);
    if (volume.overflowBytes > 0) await this.purge(volume, 0);
    else volume.roomFreed();
    await this.options.recency.refresh(volume);
    const { path, state, usedBytes, reservedBytes, limitBytes, order } = volume;
    const report = { volume: path, state, blocks: order.size, usedBytes, reservedBytes, limitBytes };
    this.options.log.debug({ event: "volume", ...report }, "usage of a volume");
  }

  /**
   * Evicts from a volume until its low watermark, and until `wantedBytes` fit. Joins a purge that runs. Never rejects.
   */
  purge(volume: Volume, wantedBytes: number): Promise<PurgeReport> {
    const running = this.#running.get(volume);
    if (running !== undefined) return running;
    const purge = this.#purge(volume, wantedBytes).finally(() => this.#running.delete(volume));
    this.#running.set(volume, purge);
    return purge;
  }

  async #purge(volume: Volume, wantedBytes: number): Promise<PurgeReport> {
    const { clock, log } = this.options;
    const began = clock.monotonicMs();
    await volume.refreshSpace();
    const excess = Math.max(volume.excessBytes, wantedBytes - volume.freeBytes);
    const victims: Victim[] = [];
    const bytes = await this.#evict(volume, excess, victims);
    const blocks = victims.length;
    if (blocks > 0) {
      await volume.refreshSpace();
      volume.roomFreed();
      this.#blocks += blocks;
      this.#bytes += bytes;
    }
    const durationMs = clock.monotonicMs() - began;
    const report = { volume: volume.path, blocks, bytes, durationMs, usedBytes: volume.usedBytes, limitBytes: volume.limitBytes };
    log[blocks > 0 ? "info" : "debug"]({ event: "purged", ...report }, "evicted blocks");
    const told = { ...report, victims };
    for (const listener of this.#listeners) listener(told);
    return told;
  }

  /** Blocks that nobody reads, in the order of their eviction, a few at a time, until `excessBytes` are back; resolves to what came back. */
  async #evict(volume: Volume, excessBytes: number, evicted: Victim[]): Promise<number> {
    const nowMs = this.options.clock.nowMs();
    let bytes = 0;
    const isEnough = (): boolean => bytes >= excessBytes || this.#closed;
    await forEachConcurrent(victims(volume, isEnough), REMOVALS, async (block) => {
      // The wall clock may have been set back.
      const sinceMs = (thenMs: number): number => Math.max(0, nowMs - thenMs);
      evicted.push({ ageMs: sinceMs(block.firstUsedMs), idleMs: sinceMs(block.lastUsedMs) });
      bytes += block.chargedBytes;
      await this.options.remover.retire(block).freed;
    });
    return bytes;
  }
}

function* victims(volume: Volume, isEnough: () => boolean): Generator<CachedBlock> {
  for (const block of volume.order.victims()) {
    if (isEnough()) return;
    if (!block.isBusy) yield block;
  }
}
