import { join } from "node:path";
import { blocksDirectory, bytesBehindFooter, decodeFooter, FOOTER_BYTES, type Geometry, segmentLength } from "@frontcache/proto";
import type { BlockStore } from "../storage/block-store.js";
import { segmentCharge } from "../storage/cached-block.js";
import type { Disk } from "../storage/disk/disk.js";

/** Returns the violated invariants of volumes at rest; empty if there are none. For tests, because it reads every footer. */
export async function storageFaults(store: BlockStore, disk: Disk, geometry: Geometry): Promise<string[]> {
  const status = store.status();
  const faults: string[] = [];
  if (status.references > 0) faults.push(`${status.references} pins or slices left`);
  for (const volume of status.volumes) {
    if (volume.reservedBytes !== 0) faults.push(`${volume.path}: ${volume.reservedBytes} bytes reserved`);
    const found = await filesOf(volume.path, disk, geometry);
    if (found.files !== volume.blocks) faults.push(`${volume.path}: ${volume.blocks} blocks, ${found.files} files`);
    if (found.bytes !== volume.usedBytes)
      faults.push(`${volume.path}: ${volume.usedBytes} bytes used, files take ${found.bytes}`);
    faults.push(...found.faults);
  }
  return faults;
}

async function filesOf(
  path: string,
  disk: Disk,
  geometry: Geometry,
): Promise<{ files: number; bytes: number; faults: string[] }> {
  const found = { files: 0, bytes: 0, faults: [] as string[] };
  for (const directory of await disk.list(blocksDirectory(path))) {
    for (const name of await disk.list(join(blocksDirectory(path), directory))) {
      const bytes = await fileCharge(join(blocksDirectory(path), directory, name), disk, geometry);
      found.files++;
      found.bytes += bytes ?? 0;
      if (bytes === undefined) found.faults.push(`${name} is no block file`);
    }
  }
  return found;
}

/** Returns the bytes of a block file according to its footer; undefined if it is not a block file. */
async function fileCharge(path: string, disk: Disk, geometry: Geometry): Promise<number | undefined> {
  const file = await disk.open(path, "read");
  try {
    const bytes = Buffer.alloc(FOOTER_BYTES);
    await file.read(bytes, geometry.blockBytes);
    const footer = decodeFooter(bytes, geometry);
    if (footer === undefined) return undefined;
    const length = Math.min(geometry.blockBytes, footer.info.objectSize - footer.id.offset);
    return footer.crcs.reduce<number>((sum, crc, segment) => {
      const segmentBytes = segmentLength(segment, length, geometry);
      return crc === undefined ? sum : sum + segmentCharge(segmentBytes, geometry);
    }, FOOTER_BYTES + bytesBehindFooter(bytes));
  } finally {
    await file.close();
  }
}
