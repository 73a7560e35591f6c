import type { EvictionPolicy } from "../../../server/src/storage/eviction-policy.js";
import type { Entry } from "./policies.js";
import { CACHE_BLOCKS, type Trace } from "./traces.js";

export interface HitRatios {
  readonly all: number;
  readonly others: number;
}
const HIGH = Math.floor(0.95 * CACHE_BLOCKS);
const LOW = Math.floor(0.9 * CACHE_BLOCKS);

export function simulate(trace: Trace, policy: EvictionPolicy<Entry>): HitRatios {
  const held = new Map<number, Entry>();
  let [reads, hits, otherReads, otherHits] = [0, 0, 0, 0];
  for (const { atMs, block, isRead, isScan } of trace.uses) {
    let entry = held.get(block);
    if (isRead) {
      reads++;
      if (entry) hits++;
      if (!isScan) {
        otherReads++;
        if (entry) otherHits++;
      }
    }
    if (entry) {
      entry.lastUsedMs = atMs;
      policy.touch(entry);
      continue;
    }
    entry = { block, firstUsedMs: atMs, lastUsedMs: atMs };
    held.set(block, entry);
    policy.add(entry);
    if (held.size <= HIGH) continue;
    for (const victim of policy.victims()) {
      held.delete(victim.block);
      policy.remove(victim);
      if (held.size <= LOW) break;
    }
  }
  return { all: hits / reads, others: otherHits / otherReads };
}

export function optimum(trace: Trace): HitRatios {
  const next = new Float64Array(trace.uses.length).fill(Infinity);
  const seen = new Map<number, number>();
  for (let i = trace.uses.length - 1; i >= 0; i--) {
    const { block } = trace.uses[i]!;
    next[i] = seen.get(block) ?? Infinity;
    seen.set(block, i);
  }
  const held = new Map<number, number>();
  let [reads, hits, otherReads, otherHits] = [0, 0, 0, 0];
  trace.uses.forEach(({ block, isRead, isScan }, i) => {
    const has = held.has(block);
    if (isRead) {
      reads++;
      if (has) hits++;
      if (!isScan) {
        otherReads++;
        if (has) otherHits++;
      }
    }
    held.set(block, next[i]!);
    if (held.size <= HIGH) return;
    for (const [each] of [...held].sort((a, b) => b[1] - a[1])) {
      held.delete(each);
      if (held.size <= LOW) break;
    }
  });
  return { all: hits / reads, others: otherHits / otherReads };
}
