/** Bounds of the storage that no user sets. */
export interface StorageTuning {
  /** Operations under way on one volume at a time: see `ioParallelism`. */
  readonly ioParallelism: number;
  /** After this long an operation counts as failed and its disk as hanging. */
  readonly diskTimeoutMs: number;
  /** How long the start waits for a volume to answer. A volume that answers later joins then. */
  readonly startTimeoutMs: number;
  /** How long a full or failing volume is not used. */
  readonly retryAfterMs: number;
  /** How long a fill waits for the purger when it does not fit. */
  readonly purgeWaitMs: number;
  /** Pooled memory for reads that are not served from a mapping. */
  readonly readMemoryBytes: number;
  /** Bytes of mapped block files that may stay in the process's memory. */
  readonly mappedMemoryBytes: number;
  /** Memory for headers of cached objects. */
  readonly headerMemoryBytes: number;
  /** Room that a volume with a budget leaves on a disk that others fill, unless the disk is small. */
  readonly diskReserveBytes: number;
  /** Looks at 16 files each, at the start, under way on one volume at a time; each has a thread of its own. */
  readonly recoveryParallelism: number;
}

/**
 * Operations that each of some volumes may have under way: eight, or as many as leave a quarter of the thread pool to
 * everything else when all volumes hang. A thread that waits for a disk can't be taken back.
 */
export function ioParallelism(volumes: number, poolThreads: number): number {
  return Math.max(1, Math.min(8, Math.floor((poolThreads * 3) / 4 / volumes)));
}

export const storageTuning: StorageTuning = {
  ioParallelism: 8,
  diskTimeoutMs: 5_000,
  startTimeoutMs: 5_000,
  retryAfterMs: 10_000,
  purgeWaitMs: 1_000,
  readMemoryBytes: 32 << 20,
  mappedMemoryBytes: 64 << 20,
  headerMemoryBytes: 64 << 20,
  diskReserveBytes: 64 << 20,
  recoveryParallelism: 4,
};
