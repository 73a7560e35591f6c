import type { Clock } from "../runtime/clock.js";
import type { ValueBlocks } from "./value-blocks.js";
import type { HeldEntry } from "./value-entries.js";

/** A version that was replaced can be read for so long after its last read. */
const RETIRED_MS = 30_000;
const MOST_RETIRED = 1_000;

/** Versions that were replaced, kept for a while, because other members may be reading them. */
export class RetiredVersions {
  readonly #blocks: ValueBlocks;
  readonly #clock: Pick<Clock, "nowMs">;
  /** By version and URL. */
  readonly #retired = new Map<string, { readonly held: HeldEntry; untilMs: number }>();

  constructor(blocks: ValueBlocks, clock: Pick<Clock, "nowMs">) {
    this.#blocks = blocks;
    this.#clock = clock;
  }

  add(held: HeldEntry): void {
    const { url, version } = held.entry;
    this.#retired.set(`${version} ${url}`, { held, untilMs: this.#clock.nowMs() + RETIRED_MS });
    for (const name of this.#retired.keys()) {
      if (this.#retired.size <= MOST_RETIRED) return;
      this.#remove(name);
    }
  }

  /** Returns a version, and keeps it longer; undefined: it was not replaced a moment ago. */
  use(url: string, version: string): HeldEntry | undefined {
    const retired = this.#retired.get(`${version} ${url}`);
    if (retired === undefined) return undefined;
    retired.untilMs = this.#clock.nowMs() + RETIRED_MS;
    return retired.held;
  }

  /** Removes those that were not read for long enough. */
  expire(): void {
    for (const [name, { untilMs }] of this.#retired) if (untilMs <= this.#clock.nowMs()) this.#remove(name);
  }

  #remove(name: string): void {
    const { entry, stored } = this.#retired.get(name)!.held;
    this.#retired.delete(name);
    void this.#blocks.remove(entry.url, stored, this.#blocks.blocksOf(entry.size));
  }
}
