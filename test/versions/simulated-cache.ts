import type { Geometry } from "@frontcache/proto";
import type { Origin } from "@frontcache/server";
import {
  buildTestMember,
  type LocalCache,
  type ManualClock,
  MemoryDisk,
  openTestStore,
  type TestMemberOptions,
} from "@frontcache/server/testing";

/** Blocks that are read by the thousand in a moment. */
export const geometry: Geometry = { blockBytes: 4096, segmentBytes: 512 };

/** One member's cache with disk and time simulated. */
export interface SimulatedCache {
  readonly cache: LocalCache;
  readonly disk: MemoryDisk;
  close(): Promise<void>;
}

/** Opens it on a disk, by default an empty one, with the settings' defaults but for `settings`. */
export async function simulatedCache(
  origin: Origin,
  clock: ManualClock,
  settings: TestMemberOptions["settings"] = {},
  disk = new MemoryDisk({ totalBytes: 64 << 20, nowMs: () => clock.nowMs() }),
): Promise<SimulatedCache> {
  const store = await openTestStore({ volumes: [{ path: "/cache", limitBytes: 32 << 20 }], geometry, disk, clock });
  const member = buildTestMember({ geometry, clock, store, origin, settings });
  const close = async (): Promise<void> => {
    await member.close();
    await store.close();
  };
  return { cache: member.local, disk, close };
}
