import type { MetricsSnapshot } from "../../metrics/snapshot.js";
import type { BucketShareStatus } from "../../storage/bucket-share.js";
import type { VolumeStatus } from "../../storage/storage-report.js";

/** The status of a member, reported by itself. Bytes and milliseconds; counts are since its start. */
export interface MemberReport extends MetricsSnapshot {
  readonly name: string;
  /** Version of frontcache. */
  readonly version: string;
  /** Reasons why the member is not ready; empty: it is ready. */
  readonly notReady: readonly string[];
  /** Time since the source last confirmed the member list; 0 for a static list; undefined before the first list. */
  readonly membershipAgeMs: number | undefined;
  readonly volumes: readonly VolumeStatus[];
  /** The buckets of values. Absent: from a member of an earlier release. */
  readonly buckets?: readonly BucketShareStatus[];
}

/** `unreachable`: the member did not answer; `unknown`: its HTTP listener is not known. */
export type MemberState = "ready" | "not ready" | "unreachable" | "unknown";

/** A member of the ring, according to the reporting member. */
export interface ListedMember {
  readonly name: string;
  /** `host:port` of its gRPC listener. */
  readonly grpcAddress: string;
  /** `host:port` of its HTTP listener; undefined: not known. */
  readonly httpAddress?: string;
  /** Share of all blocks that the member owns, 0 to 1. */
  readonly ringShare: number;
  readonly state: MemberState;
  /** Undefined: the member did not answer; `problem` is the cause. */
  readonly report?: MemberReport;
  readonly problem?: string;
}

/** The status of the cluster according to one of its members. */
export interface ClusterReport {
  /** Wall time, milliseconds since 1970. */
  readonly atMs: number;
  /** The reporting member. */
  readonly member: string;
  /** Hash of its member list: members with equal hashes rank every block equally. */
  readonly listHash: string;
  /** Sorted by name. */
  readonly members: readonly ListedMember[];
}
