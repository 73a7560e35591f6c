import type { DiskStat } from "./disk.js";

/** What the storage needs of the system's stat. */
export interface SystemStat {
  readonly size: number;
  readonly blocks: number;
  readonly mtimeMs: number;
  readonly birthtimeMs: number;
}

/** stat counts space in these. */
const STAT_BLOCK_BYTES = 512;

export function toDiskStat({ size, blocks, mtimeMs, birthtimeMs }: SystemStat): DiskStat {
  return {
    sizeBytes: size,
    allocatedBytes: blocks * STAT_BLOCK_BYTES,
    modifiedMs: Math.round(mtimeMs),
    createdMs: Math.round(birthtimeMs),
  };
}
