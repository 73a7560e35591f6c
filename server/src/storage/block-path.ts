import { join } from "node:path";

/** Names of block files, without their directory. */
const BLOCK_FILE = /^[0-9a-f]{32}\.blk$/;

/** Where a volume keeps block files that are not whole yet. Empty at rest. */
export function temporaryDirectory(volumePath: string): string {
  return join(volumePath, "tmp");
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
