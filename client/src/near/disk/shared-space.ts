import { forEachConcurrent } from "@frontcache/proto/runtime";
import type { Clock } from "../../members/clock.js";
import { systemCode } from "../../pool/pool-disk.js";
import type { FoundFile, NearDirectory } from "./near-directory.js";

export interface SharedSpaceOptions {
  readonly directory: NearDirectory;
  readonly limitBytes: number;
  readonly clock: Pick<Clock, "monotonicMs" | "after">;
  /** The time of files' changes, milliseconds since 1970. */
  readonly nowMs: () => number;
}

/** A process may write this part of the limit between two looks at the directory. */
const SHARE = 1 / 32;
/** Maximum block files. Each costs an inode, and a look at the directory asks for each. */
const MOST_BLOCKS = 50_000;
/** A reservation is used this long, and others respect it this long. The difference is the longest write. */
const RENEWED_MS = 30_000;
const ABANDONED_MS = 60_000;
/** A reservation without writes is given back. */
const IDLE_MS = 10_000;
/** After a look that found no room, the next one waits this long. */
const NO_ROOM_MS = 1_000;
const CONCURRENT_REMOVALS = 2;

/**
 * Keeps the block files of all processes that share a directory within one limit, without a lock:
 *
 * 1. A process publishes how much it is going to write: as the size of its file among the writers, which occupies no space.
 * 2. It adds up all published sizes, then the space of all files. If the sum exceeds the limit, it removes the least recently used
 *    blocks.
 * 3. If the sum is within the limit, it may write what it has published. Then it begins again at 1.
 *
 * Two processes that do this at the same time both publish before they add up, so at least one counts both. What a process has written
 * is counted twice until its next look, never not at all. A process that died is counted for a minute.
 */
export class SharedSpace {
  readonly #options: SharedSpaceOptions;
  readonly #shareBytes: number;
  #leftBytes = 0;
  #publishedAtMs = Number.NEGATIVE_INFINITY;
  #noRoomUntilMs = Number.NEGATIVE_INFINITY;
  #cancelIdle: (() => void) | undefined;

  constructor(options: SharedSpaceOptions) {
    this.#options = options;
    this.#shareBytes = Math.floor(options.limitBytes * SHARE);
  }

  /**
   * Returns whether this process may write this many bytes now. Call it before each write, one at a time. Rejects with the system's
   * errors.
   */
  async take(bytes: number): Promise<boolean> {
    if (bytes > this.#shareBytes) return false;
    const nowMs = this.#options.clock.monotonicMs();
    if (this.#leftBytes < bytes || nowMs - this.#publishedAtMs > RENEWED_MS) {
      if (nowMs < this.#noRoomUntilMs) return false;
      await this.#renew();
      if (this.#leftBytes < bytes) this.#noRoomUntilMs = this.#options.clock.monotonicMs() + NO_ROOM_MS;
    }
    if (this.#leftBytes < bytes) return false;
    this.#leftBytes -= bytes;
    this.#cancelIdle?.();
    this.#cancelIdle = this.#options.clock.after(IDLE_MS, () => void this.#giveBack());
    return true;
  }

  /** The most that `take` grants at once. */
  get mostBytes(): number {
    return this.#shareBytes;
  }

  /** Gives the reservation back. Never rejects. */
  async close(): Promise<void> {
    await this.#giveBack();
  }

  async #giveBack(): Promise<void> {
    this.#cancelIdle?.();
    this.#cancelIdle = undefined;
    this.#leftBytes = 0;
    const { directory } = this.#options;
    await directory.files.remove(directory.writerFile).catch(() => undefined);
  }

  async #renew(): Promise<void> {
    const { limitBytes, clock, directory } = this.#options;
    this.#leftBytes = 0;
    const nowMs = clock.monotonicMs();
    await this.#publish();
    this.#publishedAtMs = nowMs;
    const reserved = await this.#reservedBytes();
    const temporaries = await this.#temporaryBytes();
    const blocks = await directory.blocks();
    const mostBytes = limitBytes - reserved - temporaries;
    const keptBytes = await this.#evict(blocks, mostBytes);
    if (keptBytes <= mostBytes) this.#leftBytes = this.#shareBytes;
  }

  async #publish(): Promise<void> {
    const { directory, nowMs } = this.#options;
    const { files, writerFile } = directory;
    const publish = async (): Promise<void> => {
      await files.truncate(writerFile, this.#shareBytes);
      await files.setModified(writerFile, nowMs());
    };
    try {
      await publish();
    } catch (error) {
      if (systemCode(error) !== "ENOENT") throw error;
      await directory.createDirectories();
      const file = await files.open(writerFile, "create");
      await file.close();
      await publish();
    }
  }

  /** What all processes may write. */
  async #reservedBytes(): Promise<number> {
    let sum = 0;
    for (const file of await this.#remaining(await this.#options.directory.writers())) sum += file.sizeBytes;
    return sum;
  }

  /** The space of files that are being written. */
  async #temporaryBytes(): Promise<number> {
    let sum = 0;
    for (const file of await this.#remaining(await this.#options.directory.temporaries())) sum += file.allocatedBytes;
    return sum;
  }

  /** Removes the files of processes that died, and returns the others. */
  async #remaining(found: readonly FoundFile[]): Promise<FoundFile[]> {
    const { directory, nowMs } = this.#options;
    const isAbandoned = ({ modifiedMs }: FoundFile): boolean => nowMs() - modifiedMs > ABANDONED_MS;
    for (const file of found) if (isAbandoned(file)) await directory.files.remove(file.path);
    return found.filter((file) => !isAbandoned(file));
  }

  /** If the blocks are too many, removes the least recently used ones, and some more for the next time. Returns the bytes that remain. */
  async #evict(blocks: readonly FoundFile[], mostBytes: number): Promise<number> {
    const { directory } = this.#options;
    let bytes = blocks.reduce((sum, { allocatedBytes }) => sum + allocatedBytes, 0);
    let count = blocks.length;
    if (bytes <= mostBytes && count <= MOST_BLOCKS) return bytes;
    const oldest = [...blocks].sort((a, b) => a.modifiedMs - b.modifiedMs);
    const [targetBytes, targetCount] = [mostBytes - this.#shareBytes, MOST_BLOCKS * (1 - SHARE)];
    const victims: FoundFile[] = [];
    for (const block of oldest) {
      if (bytes <= targetBytes && count <= targetCount) break;
      victims.push(block);
      bytes -= block.allocatedBytes;
      count--;
    }
    await forEachConcurrent(victims, CONCURRENT_REMOVALS, ({ path }) => directory.removeBlock(path));
    return bytes;
  }
}
