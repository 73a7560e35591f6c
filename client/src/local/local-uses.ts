import type { BlockId } from "@frontcache/proto";
import type { Clock } from "../members/clock.js";

export interface LocalUsesOptions {
  readonly clock: Clock;
  /** How long uses are gathered, milliseconds. */
  readonly everyMs: number;
  /** Most blocks gathered at a time; the uses of more are not told. */
  readonly mostBlocks: number;
  /** Tells members of uses; settles in bounded time and never rejects. */
  readonly tell: (uses: readonly BlockId[]) => Promise<void>;
}

/** Gathers which blocks are read from their files, and tells it in batches: members can't see such reads, and evict what seems unused. */
export class LocalUses {
  readonly #options: LocalUsesOptions;
  #uses = new Set<BlockId>();
  #cancelTimer: (() => void) | undefined;
  #telling: Promise<void> | undefined;

  constructor(options: LocalUsesOptions) {
    this.#options = options;
  }

  /** One object stands for one block. */
  note(id: BlockId): void {
    const { clock, everyMs, mostBlocks } = this.#options;
    if (this.#uses.size < mostBlocks) this.#uses.add(id);
    this.#cancelTimer ??= clock.after(everyMs, () => void this.#tell());
  }

  /** Tells what has been gathered. */
  async close(): Promise<void> {
    this.#cancelTimer?.();
    await this.#telling;
    await this.#tell();
  }

  /** One after the other; what comes meanwhile is gathered for the next time. */
  async #tell(): Promise<void> {
    await this.#telling;
    this.#cancelTimer = undefined;
    if (this.#uses.size === 0) return;
    const uses = [...this.#uses];
    this.#uses = new Set();
    this.#telling = this.#options.tell(uses);
    await this.#telling;
  }
}
