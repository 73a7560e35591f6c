/** Internal limits of the storage, not configurable. */
export interface StorageTuning {
  /** Concurrent operations per volume: see `ioParallelism`. */
  readonly ioParallelism: number;
  /** Concurrent writes of megabytes per volume, of the operations above. */
  readonly bulkWrites: number;
  /** Time limit of an operation, after which it fails and its disk counts as hung. */
  readonly diskTimeoutMs: number;
  /** Maximum time that the start waits for a volume. A volume that answers later joins then. */
  readonly startTimeoutMs: number;
  /** Time that a full or failing volume is not used. */
  readonly retryAfterMs: number;
  /** Maximum time that a fill waits for the purger if it does not fit. */
  readonly purgeWaitMs: number;
  /** Pooled memory for reads that are not served from a mapping. */
  readonly readMemoryBytes: number;
  /** Limit of the process's memory used by mapped block files, bytes. */
  readonly mappedMemoryBytes: number;
  /** Memory for headers of cached objects. */
  readonly headerMemoryBytes: number;
  /** Space that a volume with a size limit leaves free on a disk that other programs fill, unless the disk is small. */
  readonly diskReserveBytes: number;
  /** Concurrent surveys of 16 files each per volume at the start; each has its own thread. */
  readonly recoveryParallelism: number;
}

/**
 * Returns the concurrent operations per volume: eight, or as many as leave a quarter of the thread pool to
 * everything else if all volumes hang, because a thread that waits for a disk cannot be interrupted.
 */
export function ioParallelism(volumes: number, poolThreads: number): number {
  return Math.max(1, Math.min(8, Math.floor((poolThreads * 3) / 4 / volumes)));
}

export const storageTuning: StorageTuning = {
  ioParallelism: 8,
  bulkWrites: 2,
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
