import type { BlockId } from "@frontcache/proto";
import type { Clock } from "../members/clock.js";

export interface LocalUsesOptions {
  readonly clock: Clock;
  /** Interval between reports, milliseconds. */
  readonly everyMs: number;
  /** Maximum blocks per report; the uses of further blocks are not reported. */
  readonly mostBlocks: number;
  /** Reports uses to the members. Settles in bounded time and never rejects. */
  readonly report: (uses: readonly BlockId[]) => Promise<void>;
}

/**
 * Collects the blocks read from files and reports them in batches. Without reports, members would evict these blocks as unused.
 */
export class LocalUses {
  readonly #options: LocalUsesOptions;
  #uses = new Set<BlockId>();
  #cancelTimer: (() => void) | undefined;
  #reporting: Promise<void> | undefined;

  constructor(options: LocalUsesOptions) {
    this.#options = options;
  }

  /** Records a use. A block must always be passed as the same object. */
  note(id: BlockId): void {
    const { clock, everyMs, mostBlocks } = this.#options;
    if (this.#uses.size < mostBlocks) this.#uses.add(id);
    this.#cancelTimer ??= clock.after(everyMs, () => void this.#report());
  }

  /** Reports the remaining uses. */
  async close(): Promise<void> {
    this.#cancelTimer?.();
    await this.#reporting;
    await this.#report();
  }

  /** Sends one report at a time. Uses noted meanwhile belong to the next report. */
  async #report(): Promise<void> {
    await this.#reporting;
    this.#cancelTimer = undefined;
    if (this.#uses.size === 0) return;
    const uses = [...this.#uses];
    this.#uses = new Set();
    this.#reporting = this.#options.report(uses);
    await this.#reporting;
  }
}
