import { isSameInfo, type ObjectInfo } from "@frontcache/proto";
import type { BlockId } from "./block.js";
import { HeaderMemory } from "./header-memory.js";

/** What all blocks of a version have alike. */
interface KnownVersion {
  readonly url: string;
  info: ObjectInfo;
}

/**
 * The versions of the blocks that a recovery finds: one copy of URL, version and info for all blocks of a version, which is half
 * of what 65,536 blocks would take otherwise.
 */
export class KnownVersions {
  readonly #limitBytes: number;
  #headers: HeaderMemory;
  /** By URL and version. */
  readonly #versions = new Map<string, Map<string, KnownVersion>>();

  /** `limitBytes`: of memory for headers. */
  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
    this.#headers = new HeaderMemory(limitBytes);
  }

  /** The same with the strings of the blocks of that version found before. `info` may be replaced by that of another block. */
  share(id: BlockId, info: ObjectInfo): { readonly id: BlockId; readonly info: ObjectInfo } {
    const versions = this.#versions.get(id.url) ?? new Map<string, KnownVersion>();
    this.#versions.set(id.url, versions);
    const known = versions.get(id.version) ?? { url: id.url, info: this.#headers.keep(info) };
    versions.set(id.version, known);
    const isSame = known.info.objectSize === info.objectSize;
    // If the object's headers have changed, the file of its first block was written again.
    const isBetter = id.offset === 0 || known.info.lacks === "metadata";
    if (isSame && isBetter && info.lacks !== "metadata" && !isSameInfo(known.info, info)) {
      this.#headers.release(known.info);
      known.info = this.#headers.keep(info);
    }
    return { id: { url: known.url, version: known.info.version, offset: id.offset }, info: isSame ? known.info : info };
  }

  /** What the best of the files says of a block's version. */
  infoOf({ url, version }: BlockId): ObjectInfo | undefined {
    return this.#versions.get(url)?.get(version)?.info;
  }

  clear(): void {
    this.#versions.clear();
    this.#headers = new HeaderMemory(this.#limitBytes);
  }
}
