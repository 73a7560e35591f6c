import type { MetricsSnapshot } from "../../metrics/snapshot.js";
import type { VolumeStatus } from "../../storage/storage-report.js";

/** The status of a member, reported by itself. Bytes and milliseconds; counts are since its start. */
export interface MemberReport extends MetricsSnapshot {
  readonly name: string;
  /** Version of frontcache. */
  readonly version: string;
  /** Why the member is not ready; empty: it is ready. */
  readonly notReady: readonly string[];
  /** Time since the source of the member list was last heard from; 0 for a static list; undefined before the first list. */
  readonly membershipAgeMs: number | undefined;
  readonly volumes: readonly VolumeStatus[];
}

/** `unreachable`: the member did not answer; `unknown`: its HTTP listener is not known. */
export type MemberState = "ready" | "not ready" | "unreachable" | "unknown";

/** A member of the ring, as the reporting member sees it. */
export interface ListedMember {
  readonly name: string;
  /** `host:port` of its gRPC listener. */
  readonly grpcAddress: string;
  /** `host:port` of its HTTP listener; undefined: not known. */
  readonly httpAddress?: string;
  /** Share of all blocks that the member owns, 0 to 1. */
  readonly ringShare: number;
  readonly state: MemberState;
  /** Undefined: the member did not answer, and `problem` says why. */
  readonly report?: MemberReport;
  readonly problem?: string;
}

/** The status of the cluster, as one of its members sees it. */
export interface ClusterReport {
  /** Wall time, milliseconds since 1970. */
  readonly atMs: number;
  /** The reporting member. */
  readonly member: string;
  /** Hash of its member list: members with equal hashes rank every block alike. */
  readonly listHash: string;
  /** By name. */
  readonly members: readonly ListedMember[];
}
