import type { BlockId } from "./block.js";
import type { BucketShareStatus } from "./bucket-share.js";

/** Number and bytes of removed blocks. */
export interface EvictReport {
  readonly blocks: number;
  /** Their bytes on the volume. The space of pinned blocks is freed when the last pin is released. */
  readonly bytes: number;
}

/**
 * The blocks to evict: of one URL, or of all URLs that begin with a prefix; of one version or all. Without URL and prefix: none.
 */
export interface EvictSelector {
  readonly url?: string;
  readonly prefix?: string;
  readonly version?: string;
}

/** `full`: a block did not fit recently; `failing`: the disk returned an error or did not answer, and is not used for a while. */
export type VolumeState = "ok" | "full" | "failing";

export interface VolumeStatus {
  readonly path: string;
  /** Bytes of cached blocks: their segments in whole pages, and 4 KiB of footer each. */
  readonly usedBytes: number;
  /** Bytes reserved for running fills. */
  readonly reservedBytes: number;
  /** The size limit, or the bytes that the file system allows in total. */
  readonly limitBytes: number;
  readonly blocks: number;
  /** Block files that the volume may still create: by the inodes of its file system, and by the memory for the list of blocks. */
  readonly freeFiles: number;
  readonly state: VolumeState;
}

export interface StorageStatus {
  readonly volumes: readonly VolumeStatus[];
  readonly mappings: number;
  readonly openFiles: number;
  /** Number of pins and slices that are not released. */
  readonly references: number;
  /** Number of damaged segments, blocks and files since the start. */
  readonly damages: number;
  /** Blocks evicted by the purger since the start. */
  readonly purged: EvictReport;
  /** The buckets whose space is counted apart. */
  readonly buckets: readonly BucketShareStatus[];
}

/** An evicted block. */
export interface Victim {
  readonly id: BlockId;
  /** Time since its creation. */
  readonly ageMs: number;
  /** Time since its last use. */
  readonly idleMs: number;
}

/** The result of one run of the purger over a volume or a bucket. */
export interface PurgeRun extends EvictReport {
  readonly victims: readonly Victim[];
  readonly durationMs: number;
}

/** The result of one run of the purger over a volume. */
export interface PurgeReport extends PurgeRun {
  /** The volume's path. */
  readonly volume: string;
  /** Usage of the volume afterwards. */
  readonly usedBytes: number;
  readonly limitBytes: number;
}
