import type { MetricsSnapshot } from "../../metrics/snapshot.js";
import type { VolumeStatus } from "../../storage/storage-report.js";

/** What a member says of itself. Bytes and milliseconds; counts are since its start. */
export interface MemberReport extends MetricsSnapshot {
  readonly name: string;
  /** Of frontcache. */
  readonly version: string;
  readonly volumes: readonly VolumeStatus[];
}

/** A member of the ring as the reporting one sees it. */
export interface ListedMember {
  readonly name: string;
  /** `host:port` of its gRPC listener. */
  readonly grpcAddress: string;
  /** `host:port` of its gateway; absent: it has none. */
  readonly httpAddress?: string;
  /** Of all blocks, how many it owns, 0 to 1. */
  readonly ringShare: number;
  /** Absent: it did not answer, and `problem` says why. */
  readonly report?: MemberReport;
  readonly problem?: string;
}

/** The cluster, told by one of its members. */
export interface ClusterReport {
  /** Wall time, milliseconds since 1970. */
  readonly atMs: number;
  /** Who tells it. */
  readonly member: string;
  /** Of its member list: two members with equal ones rank every block alike. */
  readonly listHash: string;
  /** By name. */
  readonly members: readonly ListedMember[];
}
