import type { Log } from "../runtime/log.js";
import type { CachedBlock } from "./cached-block.js";

export interface DamagesOptions {
  readonly log: Log;
  /** Removes a segment that is no longer in the block's table from its file. */
  readonly forget: (block: CachedBlock, segment: number) => void;
  /** Removes the block and its file. */
  readonly retire: (block: CachedBlock) => void;
}

/** Handles damage: drops the damaged data, counts it, and logs it once. */
export class Damages {
  readonly #options: DamagesOptions;

  #count = 0;

  constructor(options: DamagesOptions) {
    this.#options = options;
  }

  /** Number of damaged segments, blocks and files since the start. */
  get count(): number {
    return this.#count;
  }

  /**
   * Drops a segment whose bytes are wrong or unreadable. The next read fetches it again. If its bytes may have been sent, the whole
   * block is dropped: the kernel may still send them from the file's pages, so the file must not change, and the repair gets a new one.
   */
  badSegment(block: CachedBlock, segment: number, error: unknown): void {
    if (block.retired || !block.segments.has(segment)) return;
    if (block.segments.isChecked(segment)) {
      this.badBlock(block, error);
      return;
    }
    block.drop(segment);
    this.#note({ event: "segment-damaged", ...place(block), segment, err: error }, "a segment is damaged; it is fetched again");
    if (block.segments.isEmpty()) this.#options.retire(block);
    else this.#options.forget(block, segment);
  }

  /** Drops a block whose file is missing, truncated, cannot be opened, or must not be repaired in place. */
  badBlock(block: CachedBlock, error: unknown): void {
    if (block.retired) return;
    this.#note({ event: "block-damaged", ...place(block), err: error }, "a block file is damaged; the block is dropped");
    this.#options.retire(block);
  }

  /** Reports files that are not valid blocks, found at the start: one line per kind of fault. */
  badFiles(volumePath: string, reason: string, paths: readonly string[]): void {
    this.#count += paths.length - 1;
    this.#note(
      { event: "files-damaged", volume: volumePath, reason, files: paths.length, first: paths[0] },
      "files are not valid block files",
    );
  }

  #note(entry: Record<string, unknown>, text: string): void {
    this.#count++;
    this.#options.log.warn(entry, text);
  }
}

function place(block: CachedBlock): Record<string, unknown> {
  return { path: block.path, url: block.id.url, offset: block.id.offset };
}
