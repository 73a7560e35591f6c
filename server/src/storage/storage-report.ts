/** What removed blocks amount to. */
export interface EvictReport {
  readonly blocks: number;
  /** Bytes of the volume that they took. Those of blocks that are still pinned come back when the last pin ends. */
  readonly bytes: number;
}

/** Which blocks to evict: of one URL, or of all URLs that begin with a prefix; of one version or all. Neither: none. */
export interface EvictSelector {
  readonly url?: string;
  readonly prefix?: string;
  readonly version?: string;
}

/** `full`: a block did not fit lately; `failing`: the disk answered with an error or not at all, and is left alone for a while. */
export type VolumeState = "ok" | "full" | "failing";

export interface VolumeStatus {
  readonly path: string;
  /** Bytes that cached blocks take: their segments in whole pages and 4 KiB of footer each. */
  readonly usedBytes: number;
  /** Reserved for running fills. */
  readonly reservedBytes: number;
  /** The byte budget, or what the file system would give in all. */
  readonly limitBytes: number;
  readonly blocks: number;
  readonly state: VolumeState;
}

export interface StorageStatus {
  readonly volumes: readonly VolumeStatus[];
  readonly mappings: number;
  readonly openFiles: number;
  /** Pins and slices given out and not released. */
  readonly references: number;
  /** Segments, blocks and files found damaged since the start. */
  readonly damages: number;
  /** Evicted by the purger since the start. */
  readonly purged: EvictReport;
}

/** How old an evicted block was. */
export interface Victim {
  /** Since it came. */
  readonly ageMs: number;
  /** Since it was last used. */
  readonly idleMs: number;
}

/** What one run of the purger did to a volume. */
export interface PurgeReport extends EvictReport {
  readonly victims: readonly Victim[];
  /** The volume's path. */
  readonly volume: string;
  readonly durationMs: number;
  /** Of the volume, afterwards. */
  readonly usedBytes: number;
  readonly limitBytes: number;
}
