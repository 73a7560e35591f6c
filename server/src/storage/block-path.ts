import { createHash } from "node:crypto";
import { join } from "node:path";
import type { BlockId } from "./block.js";

/** Names of block files, without their directory. */
const BLOCK_FILE = /^[0-9a-f]{32}\.blk$/;

/** First 32 hex digits of SHA-256 of URL, version, offset and block size: a block's name on any disk. */
export function blockDigest(id: BlockId, blockBytes: number): string {
  return createHash("sha256").update(`${id.url}\n${id.version}\n${id.offset}\n${blockBytes}`).digest("hex").slice(0, 32);
}

/** Where a volume keeps its block files: 256 directories below, named for the first two digits of the digest. */
export function blocksDirectory(volumePath: string): string {
  return join(volumePath, "v1");
}

/** Where a volume keeps block files that are not whole yet. Empty at rest. */
export function temporaryDirectory(volumePath: string): string {
  return join(volumePath, "tmp");
}

/** The directory of a block's file. */
export function blockDirectory(volumePath: string, digest: string): string {
  return join(blocksDirectory(volumePath), digest.slice(0, 2));
}

export function blockPath(volumePath: string, digest: string): string {
  return join(blockDirectory(volumePath, digest), `${digest}.blk`);
}

/** Whether a name found in directory `aa` of the blocks can be a block file's. */
export function isBlockFileName(directory: string, name: string): boolean {
  return BLOCK_FILE.test(name) && name.startsWith(directory) && directory.length === 2;
}

/** The first 48 bits of the digest that a block file is named for. */
export function digestNumber(path: string): number {
  const nameAt = path.length - "0123456789abcdef0123456789abcdef.blk".length;
  return Number.parseInt(path.slice(nameAt, nameAt + 12), 16);
}
