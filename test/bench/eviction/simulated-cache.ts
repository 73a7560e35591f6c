import type { EvictionPolicy } from "@frontcache/server/testing";
import { SimulatedBlock } from "./contestants.js";
import { CACHE_BLOCKS, type Trace } from "./traces.js";

/** The watermarks of a member, in blocks. */
const HIGH = 0.95 * CACHE_BLOCKS;
const LOW = 0.9 * CACHE_BLOCKS;

/** Share of the counted reads, 0 to 1, whose block is cached. */
export function hitRatio({ uses }: Trace, policy: EvictionPolicy<SimulatedBlock>): number {
  const cached = new Map<number, SimulatedBlock>();
  const ratio = new Ratio();
  for (const { atMs, block, counts } of uses) {
    const found = cached.get(block);
    if (counts) ratio.note(found !== undefined);
    if (found !== undefined) {
      found.lastUsedMs = atMs;
      policy.recordUse(found);
      continue;
    }
    const added = new SimulatedBlock(block, atMs);
    cached.set(block, added);
    policy.add(added);
    if (cached.size <= HIGH) continue;
    for (const victim of policy.victims()) {
      cached.delete(victim.fingerprint);
      policy.remove(victim);
      if (cached.size <= LOW) break;
    }
  }
  return ratio.value;
}

/** The best possible hit ratio: evicts the block whose next use is the furthest away (Belady). */
export function bestHitRatio({ uses }: Trace): number {
  const nextUses = nextUsesOf(uses);
  /** Each block's next use. */
  const cached = new Map<number, number>();
  const ratio = new Ratio();
  uses.forEach(({ block, counts }, use) => {
    if (counts) ratio.note(cached.has(block));
    cached.set(block, nextUses[use]!);
    if (cached.size <= HIGH) return;
    const lastFirst = [...cached].sort(([, one], [, other]) => other - one);
    for (const [victim] of lastFirst.slice(0, cached.size - LOW)) cached.delete(victim);
  });
  return ratio.value;
}

/** For each use the index of the next use of the same block, or a unique number beyond all indexes. */
function nextUsesOf(uses: Trace["uses"]): Float64Array {
  const nextUses = new Float64Array(uses.length);
  const nextUse = new Map<number, number>();
  for (let use = uses.length - 1; use >= 0; use--) {
    const { block } = uses[use]!;
    nextUses[use] = nextUse.get(block) ?? uses.length + use;
    nextUse.set(block, use);
  }
  return nextUses;
}

class Ratio {
  #hits = 0;
  #reads = 0;

  note(isHit: boolean): void {
    this.#reads++;
    if (isHit) this.#hits++;
  }

  get value(): number {
    return this.#hits / this.#reads;
  }
}
