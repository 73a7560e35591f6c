import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";

/** The files of a volume according to the file system. */
export interface VolumeFiles {
  readonly blockFiles: number;
  /** Disk usage of the block files, bytes, as reported by `du`. */
  readonly allocatedBytes: number;
}

const STAT_BLOCK_BYTES = 512;

/** Lists a cache directory. Files that are removed meanwhile are ignored. */
export function volumeFiles(directory: string): VolumeFiles {
  const entries = readdirSync(join(directory, "v1"), { recursive: true, withFileTypes: true });
  let [blockFiles, allocatedBytes] = [0, 0];
  for (const entry of entries.filter((each) => each.isFile())) {
    const stat = statSync(join(entry.parentPath, entry.name), { throwIfNoEntry: false });
    if (stat === undefined) continue;
    blockFiles++;
    allocatedBytes += stat.blocks * STAT_BLOCK_BYTES;
  }
  return { blockFiles, allocatedBytes };
}
