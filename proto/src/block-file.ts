import { hash } from "node:crypto";
import { join, sep } from "node:path";

/** A block's identity: an aligned slice of one version of one object. */
export interface BlockId {
  readonly url: string;
  readonly version: string;
  /** Start of the block in the object, bytes. */
  readonly offset: number;
}

/**
 * Returns the name of a block's file: the first 32 hex digits of SHA-256 of URL, version, offset and block size. Keys may contain
 * line breaks; versions of cached blocks cannot, because they come from headers. If a client chose the version, the reader of the
 * file must check its footer.
 */
export function blockDigest(id: BlockId, blockBytes: number): string {
  return hash("sha256", `${id.url}\n${id.version}\n${id.offset}\n${blockBytes}`).slice(0, 32);
}

/** The volume whose block files were named last, and their directory: naming a file for each new block need not join paths. */
let recent = { volumePath: "", directory: "" };

/** The directory of a volume's block files. It has 256 directories, named by the first two digits of the digest. */
export function blocksDirectory(volumePath: string): string {
  if (recent.volumePath !== volumePath) recent = { volumePath, directory: join(volumePath, "v1") };
  return recent.directory;
}

/** The directory of a block's file. */
export function blockDirectory(volumePath: string, digest: string): string {
  return `${blocksDirectory(volumePath)}${sep}${digest.slice(0, 2)}`;
}

/** A block's file on a volume. */
export function blockPath(volumePath: string, digest: string): string {
  return `${blockDirectory(volumePath, digest)}${sep}${digest}.blk`;
}
