import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";

/** What lies on a volume, as the file system says it. */
export interface VolumeFiles {
  readonly blockFiles: number;
  /** Bytes that the block files take on the disk, as `du` counts them. */
  readonly allocatedBytes: number;
  /** Names in tmp/. */
  readonly strays: string[];
}

const STAT_BLOCK_BYTES = 512;

/** Looks at a cache directory from outside. Files that vanish meanwhile don't count. */
export function volumeFiles(directory: string): VolumeFiles {
  const entries = readdirSync(join(directory, "v1"), { recursive: true, withFileTypes: true });
  let [blockFiles, allocatedBytes] = [0, 0];
  for (const entry of entries.filter((each) => each.isFile())) {
    const stat = statSync(join(entry.parentPath, entry.name), { throwIfNoEntry: false });
    if (stat === undefined) continue;
    blockFiles++;
    allocatedBytes += stat.blocks * STAT_BLOCK_BYTES;
  }
  return { blockFiles, allocatedBytes, strays: readdirSync(join(directory, "tmp")) };
}
