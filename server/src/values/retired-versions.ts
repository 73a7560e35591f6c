import type { Clock } from "../runtime/clock.js";
import type { ValueBlocks } from "./value-blocks.js";
import type { KnownEntry } from "./value-entries.js";

/** A version that was replaced can be read for so long after its last read. */
const RETIRED_MS = 30_000;
const MOST_RETIRED = 1_000;

/** Versions that were replaced, kept for a while, because other members may be reading them. */
export class RetiredVersions {
  readonly #blocks: ValueBlocks;
  readonly #clock: Pick<Clock, "nowMs">;
  /** By version and URL. */
  readonly #retired = new Map<string, { readonly known: KnownEntry; untilMs: number }>();

  constructor(blocks: ValueBlocks, clock: Pick<Clock, "nowMs">) {
    this.#blocks = blocks;
    this.#clock = clock;
  }

  add(known: KnownEntry): void {
    const { url, version } = known.entry;
    this.#retired.set(`${version} ${url}`, { known, untilMs: this.#clock.nowMs() + RETIRED_MS });
    for (const name of this.#retired.keys()) {
      if (this.#retired.size <= MOST_RETIRED) return;
      void this.#remove(name);
    }
  }

  /** Returns a version, and keeps it longer; undefined: it was not replaced a moment ago. */
  use(url: string, version: string): KnownEntry | undefined {
    const retired = this.#retired.get(`${version} ${url}`);
    if (retired === undefined) return undefined;
    retired.untilMs = this.#clock.nowMs() + RETIRED_MS;
    return retired.known;
  }

  /** Removes those of a value's bucket that no read uses, because the bucket has no space left. */
  async removeOf(url: string): Promise<void> {
    const bucket = url.slice(0, url.indexOf("/", "cache://".length) + 1);
    const names = [...this.#retired].filter(([, { known }]) => known.entry.url.startsWith(bucket)).map(([name]) => name);
    await Promise.all(names.map((name) => this.#remove(name)));
  }

  /** Removes those that were not read for long enough. */
  expire(): void {
    for (const [name, { untilMs }] of this.#retired) if (untilMs <= this.#clock.nowMs()) void this.#remove(name);
  }

  #remove(name: string): Promise<void> {
    const { entry, stored } = this.#retired.get(name)!.known;
    this.#retired.delete(name);
    return this.#blocks.remove(entry.url, stored, this.#blocks.blocksOf(entry.size));
  }
}
