import type { Geometry } from "@frontcache/proto";
import type { Origin } from "@frontcache/server";
import {
  BlockStore,
  LocalCache,
  type LocalCacheOptions,
  type ManualClock,
  MemoryDisk,
  noMapping,
  silentLog,
  storageTuning,
} from "@frontcache/server/testing";

/** Blocks that are read by the thousand in a moment. */
export const geometry: Geometry = { blockBytes: 4096, segmentBytes: 512 };

/** One member's cache with disk and time simulated. */
export interface SimulatedCache {
  readonly cache: LocalCache;
  readonly disk: MemoryDisk;
  close(): Promise<void>;
}

/** Opens it on a disk, by default an empty one, with the settings' defaults but for `options`. */
export async function simulatedCache(
  origin: Origin,
  clock: ManualClock,
  options: Partial<LocalCacheOptions> = {},
  disk = new MemoryDisk({ totalBytes: 64 << 20, nowMs: () => clock.nowMs() }),
): Promise<SimulatedCache> {
  const store = await BlockStore.open({
    volumes: [{ path: "/cache", limitBytes: 32 << 20 }],
    geometry,
    disk,
    mapper: noMapping,
    clock,
    log: silentLog,
    highWatermark: 0.95,
    lowWatermark: 0.9,
    eviction: "lru",
    maxMappings: 4,
    purgeIntervalMs: 10_000,
    tuning: { ...storageTuning, diskReserveBytes: 0 },
  });
  const fills = { fill: "auto", partBytes: 2048, fillMemoryBytes: 16 << 20, fillParallelism: 4 } as const;
  const versions = { staleIfError: true, revalidateAfterMs: 60_000, negativeTtlMs: 1_000 };
  const cache = new LocalCache({ geometry, origin, store, clock, ...fills, ...versions, ...options });
  const close = async (): Promise<void> => {
    await cache.close();
    await store.close();
  };
  return { cache, disk, close };
}
