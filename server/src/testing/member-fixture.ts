import { connectMembers, plainAccess } from "@frontcache/client/members";
import { type MemberInfo, Membership } from "@frontcache/proto";
import { type ComposedMember, composeMember, type MemberParts } from "../composition/compose-member.js";
import type { Clock } from "../runtime/clock.js";
import { BlockStore, type BlockStoreOptions, storageTuning } from "../storage/block-store.js";
import { noMapping } from "../storage/mapping/mapping.js";
import { evenly } from "./other-members.js";
import { silentLog, silentRouting } from "./silent-ports.js";

/** The required options of a test store. All others have defaults. */
export type TestStoreOptions = Partial<BlockStoreOptions> & Pick<BlockStoreOptions, "geometry" | "disk" | "clock">;

/** Opens a store for tests: one volume, no mappings, no space kept free on the disk. */
export function openTestStore(options: TestStoreOptions): Promise<BlockStore> {
  return BlockStore.open({
    volumes: [{ path: "/cache" }],
    mapper: noMapping,
    log: silentLog,
    highWatermark: 0.95,
    lowWatermark: 0.9,
    keepFree: 0,
    maxBlocks: Number.POSITIVE_INFINITY,
    eviction: "lru",
    buckets: [],
    maxMappings: 16,
    purgeIntervalMs: 10_000,
    tuning: { ...storageTuning, diskReserveBytes: 0 },
    ...options,
  });
}

export interface TestMemberOptions
  extends Pick<MemberParts, "store" | "origin" | "geometry">,
    Partial<
      Pick<MemberParts, "self" | "membership" | "mayHaveOthers" | "connections" | "events" | "asCaller" | "teeWritesBytes">
    > {
  /** Without `random`, all random numbers are equal. */
  readonly clock: Clock | MemberParts["clock"];
  /** Overrides of the defaults, which are those of `frontcache serve`, scaled to the geometry. */
  readonly settings?: Partial<MemberParts["settings"]> | undefined;
}

const SELF: MemberInfo = { name: "self", grpcAddress: "127.0.0.1:1" };

/** Builds a member for tests as `startServer` does, with the store and the origin of the test; by default the only member. */
export function buildTestMember({ geometry, clock, settings, ...parts }: TestMemberOptions): ComposedMember {
  const { self = SELF } = parts;
  const memberClock = "random" in clock ? clock : { ...evenly(clock), nowMs: () => clock.nowMs() };
  return composeMember({
    self,
    membership: Membership.of([self], geometry.blockBytes),
    mayHaveOthers: false,
    connections: connectMembers({
      clock: memberClock,
      access: plainAccess,
      connectTimeoutMs: 1_000,
      transport: "grpc",
      mostConnections: 8,
    }),
    events: silentRouting,
    ...parts,
    geometry,
    clock: memberClock,
    settings: {
      fill: "auto",
      partBytes: 4 * geometry.segmentBytes,
      fillMemoryBytes: 16 << 20,
      fillParallelism: 4,
      staleIfError: true,
      revalidateAfterMs: 60_000,
      negativeTtlMs: 1_000,
      ...settings,
    },
  });
}
