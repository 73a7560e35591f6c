import type { EvictionPolicy } from "../../../server/src/storage/eviction/eviction-policy.js";
import { SimulatedBlock } from "./contestants.js";
import { CACHE_BLOCKS, type Trace } from "./traces.js";

/** The watermarks of a member, in blocks. */
const HIGH = 0.95 * CACHE_BLOCKS;
const LOW = 0.9 * CACHE_BLOCKS;

/** Share of the reads that count, 0 to 1, that find their block with a policy. */
export function hitRatio({ uses }: Trace, policy: EvictionPolicy<SimulatedBlock>): number {
  const held = new Map<number, SimulatedBlock>();
  const ratio = new Ratio();
  for (const { atMs, block, counts } of uses) {
    const found = held.get(block);
    if (counts) ratio.note(found !== undefined);
    if (found !== undefined) {
      found.lastUsedMs = atMs;
      policy.recordUse(found);
      continue;
    }
    const added = new SimulatedBlock(block, atMs);
    held.set(block, added);
    policy.add(added);
    if (held.size <= HIGH) continue;
    for (const victim of policy.victims()) {
      held.delete(victim.fingerprint);
      policy.remove(victim);
      if (held.size <= LOW) break;
    }
  }
  return ratio.value;
}

/** As `hitRatio`, of one who knows the future and gives up what is used again last (Belady): no policy can do better. */
export function bestHitRatio({ uses }: Trace): number {
  const nextUses = nextUsesOf(uses);
  /** Each block's next use. */
  const held = new Map<number, number>();
  const ratio = new Ratio();
  uses.forEach(({ block, counts }, use) => {
    if (counts) ratio.note(held.has(block));
    held.set(block, nextUses[use]!);
    if (held.size <= HIGH) return;
    const lastFirst = [...held].sort(([, one], [, other]) => other - one);
    for (const [victim] of lastFirst.slice(0, held.size - LOW)) held.delete(victim);
  });
  return ratio.value;
}

/** For each use the index of the next one of the same block, or a number beyond all, different for each. */
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
