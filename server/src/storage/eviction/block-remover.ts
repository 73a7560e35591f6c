import { SingleFlight } from "@frontcache/proto/runtime";
import type { BlockIndex } from "../block-index.js";
import type { CachedBlock } from "../cached-block.js";
import type { Disk } from "../disk/disk.js";
import { systemCode } from "../disk/disk.js";
import type { OpenFiles } from "../open-files.js";
import type { Space } from "../space.js";
import type { Volume } from "../volume.js";

/** The removal of a larger file takes the kernel longer than the message to the thread that removes small ones. */
const SMALL_BYTES = 128 << 10;

export interface BlockRemoverOptions {
  readonly disk: Disk;
  readonly index: BlockIndex;
  readonly files: OpenFiles;
}

/** A block that is being removed. Neither promise rejects. */
export interface Removal {
  /** Resolves when its file was unlinked, or recorded for a retry. */
  readonly unlinked: Promise<void>;
  /** Resolves when its last pin and slice are released too, and it is unmapped and closed: the space is free. */
  readonly freed: Promise<void>;
}

/** Removes blocks and stray files. Retries later if the disk refuses. */
export class BlockRemover {
  readonly #options: BlockRemoverOptions;

  readonly #removals = new Map<CachedBlock, Removal>();
  readonly #unlinking = new SingleFlight<string, boolean>();
  /** Files that could not be removed, with their bytes. */
  readonly #stuck = new Map<string, { volume: Volume; space: Space; bytes: number; files: number }>();

  constructor(options: BlockRemoverOptions) {
    this.#options = options;
  }

  /** Removes a block from the index immediately, and then its file. May be called repeatedly. */
  retire(block: CachedBlock): Removal {
    const running = this.#removals.get(block);
    if (running !== undefined) return running;
    if (block.retired) return { unlinked: Promise.resolve(), freed: Promise.resolve() };
    block.retired = true;
    this.#options.index.remove(block);
    const unlinked = this.removeFile(block.volume, block.path, block.chargedBytes <= SMALL_BYTES);
    const removal = { unlinked: unlinked.then(() => undefined), freed: this.#free(block, unlinked) };
    this.#removals.set(block, removal);
    return removal;
  }

  async #free(block: CachedBlock, unlinked: Promise<boolean>): Promise<void> {
    await block.released();
    await this.#options.files.close(block);
    const { chargedBytes, space, path } = block;
    const isUnlinked = await unlinked;
    // A retry may have unlinked the file while the block was still being read.
    const stuck = isUnlinked ? undefined : this.#stuck.get(path);
    if (stuck === undefined) space.freed(chargedBytes, 1);
    else {
      stuck.space = space;
      stuck.bytes += chargedBytes;
      stuck.files++;
    }
    this.#removals.delete(block);
  }

  /** Removes a file; resolves with whether it was removed. If not, it is retried. `isSmall`: it may be removed together with others. */
  removeFile(volume: Volume, path: string, isSmall = false): Promise<boolean> {
    return this.#unlinking.run(path, () => this.#unlink(volume, path, isSmall));
  }

  async #unlink(volume: Volume, path: string, isSmall: boolean): Promise<boolean> {
    const { disk } = this.#options;
    try {
      const remove = (): Promise<void> => disk.remove(path, isSmall);
      if (isSmall && disk.removesInThread?.(path) === true) await volume.gate.runBatched(remove);
      else await volume.gate.run(remove);
    } catch (error) {
      // The store creates no directories here: it stays, and the volume counts as healthy.
      if (systemCode(error) === "EISDIR") return false;
      if (systemCode(error) !== "ENOENT") {
        volume.health.failed(error);
        if (!this.#stuck.has(path)) this.#stuck.set(path, { volume, space: volume, bytes: 0, files: 0 });
        return false;
      }
    }
    const { space = volume, bytes = 0, files = 0 } = this.#stuck.get(path) ?? {};
    space.freed(bytes, files);
    this.#stuck.delete(path);
    return true;
  }

  /** Whether the path is free for a new file. Waits for a running removal, and retries a failed one. */
  isFree(path: string): true | Promise<boolean> {
    return this.#unlinking.running(path) === undefined && !this.#stuck.has(path) ? true : this.#becomesFree(path);
  }

  async #becomesFree(path: string): Promise<boolean> {
    await this.#unlinking.running(path);
    const stuck = this.#stuck.get(path);
    return stuck === undefined || this.removeFile(stuck.volume, path);
  }

  /** Retries the failed removals of a volume. */
  async retryStuck(volume: Volume): Promise<void> {
    for (const [path, stuck] of [...this.#stuck]) {
      if (stuck.volume === volume && !(await this.removeFile(volume, path))) return;
    }
  }

  /** Resolves when no file is being removed; pins may still occupy the space of some. */
  async unlinked(): Promise<void> {
    await this.#unlinking.settled();
  }

  /** Resolves when all running removals have ended, including the release of pins. */
  async settled(): Promise<void> {
    await Promise.all([...this.#removals.values()].map((removal) => removal.freed));
    await this.unlinked();
  }
}
