import type { CacheClient } from "@frontcache/client";
import { KiB, type StageObject } from "./stage.js";

/** How long reads took, milliseconds. */
export interface Latencies {
  readonly reads: number;
  readonly p50: number;
  readonly p99: number;
}

/** Latencies of reads together. */
export function latenciesOf(ms: readonly number[]): Latencies {
  const sorted = ms.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
  return { reads: sorted.length, p50: at(0.5), p99: at(0.99) };
}

/** Reads 4 KiB after 4 KiB for a while, as somebody well-behaved does: 200 a second. Adds to `ms` how long each took. */
export async function readHot(client: CacheClient, object: StageObject, forMs: number, ms: number[]): Promise<void> {
  const untilMs = performance.now() + forMs;
  for (let at = 0; performance.now() < untilMs; at = (at + 17 * 4 * KiB) % object.size) {
    const beganMs = performance.now();
    await client.readRange(object.url, at, 4 * KiB, object.version);
    ms.push(performance.now() - beganMs);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
