import type { Geometry } from "@frontcache/proto";
import type { Origin } from "@frontcache/server";
import {
  type BlockStore,
  type BlockStoreOptions,
  type LocalCacheOptions,
  openTestStore,
  retrying as retryingBy,
  storageTuning,
  type TestMemberOptions,
} from "@frontcache/server/testing";
import type { Chance } from "../seeded-random.js";
import type { ProcessClock } from "./simulated-time.js";
import type { TroubledDisk } from "./troubled-disk.js";

/** Small enough that a few hundred steps fill, split and evict many blocks. */
export const geometry: Geometry = { blockBytes: 4096, segmentBytes: 512 };

/** How long members believe what the origin answered. */
export interface Ages {
  readonly revalidateAfterMs: number;
  readonly negativeTtlMs: number;
}

export const shortAges: Ages = { revalidateAfterMs: 2_000, negativeTtlMs: 200 };
export const URLS = ["s3://bucket/a", "s3://bucket/b", "s3://bucket/c"];

/** What is chosen for each life of a member. */
export type LifeSettings = Pick<BlockStoreOptions, "eviction"> &
  Pick<LocalCacheOptions, "fill"> &
  Ages & {
    readonly limitBytes: number;
    /** The longest written body that is cached. Undefined: members cache no written bodies. */
    readonly teeWritesBytes: number | undefined;
  };

export function chooseSettings(
  chance: Chance,
  limitsBytes: readonly number[],
  ages: Ages,
  teeWritesBytes?: number,
): LifeSettings {
  return {
    ...ages,
    teeWritesBytes,
    limitBytes: chance.pick(limitsBytes),
    eviction: chance.pick(["lru", "slru"] as const),
    fill: chance.pick(["auto", "whole", "wanted"] as const),
  };
}

/** The store of a process on its disk. */
export function openStore(disk: TroubledDisk, clock: ProcessClock, { limitBytes, eviction }: LifeSettings): Promise<BlockStore> {
  return openTestStore({
    volumes: [{ path: "/cache", limitBytes }],
    geometry,
    disk: disk.serve(clock),
    clock,
    lowWatermark: 0.8,
    eviction,
    purgeIntervalMs: 1_000,
    tuning: { ...storageTuning, diskReserveBytes: 0, readMemoryBytes: 16 * 1024 },
  });
}

/** An origin that is asked again as a real one is, only sooner. */
export function retrying(origin: Origin, clock: ProcessClock): Origin {
  const retries = {
    attempts: 3,
    baseDelayMs: 5,
    maxDelayMs: 20,
    headTimeoutMs: 300,
    idleTimeoutMs: 100,
    withFallback: { attempts: 2, headTimeoutMs: 300 },
    onRetry: () => {},
  };
  return retryingBy(retries, clock, () => clock.random())(origin);
}

/** How a process fills and revalidates. */
export function cacheSettings({ fill, revalidateAfterMs, negativeTtlMs }: LifeSettings): Required<TestMemberOptions>["settings"] {
  return {
    fill,
    partBytes: 2 * geometry.segmentBytes,
    fillMemoryBytes: 12 * geometry.segmentBytes,
    fillParallelism: 3,
    revalidateAfterMs,
    negativeTtlMs,
  };
}
