import type { EvictionPolicy, Used } from "../../../server/src/storage/eviction-policy.js";
import { LruPolicy } from "../../../server/src/storage/lru-policy.js";
import { SlruPolicy } from "../../../server/src/storage/slru-policy.js";

const ONE_USE = 60_000;

export interface Entry extends Used {
  readonly block: number;
  lastUsedMs: number;
}

/** Gives up the oldest block, however often it was used. */
class FifoPolicy extends LruPolicy<Entry> {
  override touch(): void {}
}

/** SIEVE: a hand goes from the oldest to the newest, gives up what was not used since it last came by. */
class SievePolicy implements EvictionPolicy<Entry> {
  readonly #visited = new Map<Entry, boolean>();
  #hand: IterableIterator<[Entry, boolean]> | undefined;
  get size() {
    return this.#visited.size;
  }
  add(e: Entry) {
    this.#visited.set(e, false);
  }
  touch(e: Entry) {
    if (e.lastUsedMs - e.firstUsedMs >= ONE_USE) this.#visited.set(e, true);
  }
  remove(e: Entry) {
    this.#visited.delete(e);
  }
  *victims() {
    for (;;) {
      this.#hand ??= this.#visited.entries();
      const next = this.#hand.next();
      if (next.done) {
        this.#hand = undefined;
        continue;
      }
      const [e, v] = next.value;
      if (v) this.#visited.set(e, false);
      else yield e;
    }
  }
}

class S3FifoPolicy implements EvictionPolicy<Entry> {
  readonly #small = new Set<Entry>();
  readonly #main = new Set<Entry>();
  readonly #ghost = new Set<number>();
  readonly #freq = new Map<Entry, number>();
  constructor(private share: number) {}
  get size() {
    return this.#small.size + this.#main.size;
  }
  add(e: Entry) {
    this.#freq.set(e, 0);
    if (this.#ghost.delete(e.block)) this.#main.add(e);
    else this.#small.add(e);
  }
  touch(e: Entry) {
    const last = e as Entry & { counted?: number };
    if (e.lastUsedMs - (last.counted ?? e.firstUsedMs) < ONE_USE) return;
    last.counted = e.lastUsedMs;
    this.#freq.set(e, Math.min(3, this.#freq.get(e)! + 1));
  }
  remove(e: Entry) {
    if (this.#small.delete(e)) {
      this.#ghost.add(e.block);
      if (this.#ghost.size > this.size) this.#ghost.delete(this.#ghost.values().next().value!);
    }
    this.#main.delete(e);
    this.#freq.delete(e);
  }
  *victims() {
    for (;;) {
      if (this.#small.size > this.share * this.size || this.#main.size === 0) {
        for (const e of this.#small) {
          if (this.#freq.get(e)! > 0) {
            this.#small.delete(e);
            this.#main.add(e);
            this.#freq.set(e, 0);
          } else yield e;
          break;
        }
      } else {
        for (const e of this.#main) {
          const f = this.#freq.get(e)!;
          if (f > 0) {
            this.#freq.set(e, f - 1);
            this.#main.delete(e);
            this.#main.add(e);
          } else yield e;
          break;
        }
      }
    }
  }
}

/** SLRU with memory of what it gave up. */
class GhostSlru extends SlruPolicy<Entry> {
  readonly #ghost = new Map<number, number>();
  override add(e: Entry) {
    const seen = this.#ghost.get(e.block);
    if (seen !== undefined) {
      this.#ghost.delete(e.block);
      (e as { firstUsedMs: number }).firstUsedMs = seen;
    }
    super.add(e);
  }
  override remove(e: Entry) {
    super.remove(e);
    this.#ghost.set(e.block, e.firstUsedMs);
    if (this.#ghost.size > this.size) this.#ghost.delete(this.#ghost.keys().next().value!);
  }
}

export const policies: Record<string, () => EvictionPolicy<Entry>> = {
  fifo: () => new FifoPolicy(),
  lru: () => new LruPolicy(),
  "slru 50": () => new SlruPolicy({ oneUseMs: ONE_USE, protectedShare: 0.5 }),
  "slru 80": () => new SlruPolicy({ oneUseMs: ONE_USE, protectedShare: 0.8 }),
  "slru 90": () => new SlruPolicy({ oneUseMs: ONE_USE, protectedShare: 0.9 }),
  "slru80/0s": () => new SlruPolicy({ oneUseMs: 1, protectedShare: 0.8 }),
  "slru80/20s": () => new SlruPolicy({ oneUseMs: 20_000, protectedShare: 0.8 }),
  "gslru 80": () => new GhostSlru({ oneUseMs: ONE_USE, protectedShare: 0.8 }),
  sieve: () => new SievePolicy(),
  "s3fifo 10": () => new S3FifoPolicy(0.1),
  "s3fifo 25": () => new S3FifoPolicy(0.25),
};
