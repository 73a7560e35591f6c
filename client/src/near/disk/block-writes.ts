import { crc32 } from "node:zlib";
import {
  type BlockFooter,
  type BlockId,
  blockLength,
  blockOffsetOf,
  decodeFooter,
  encodeFooter,
  FOOTER_BYTES,
  segmentCount,
  segmentOf,
} from "@frontcache/proto";
import type { Clock } from "../../members/clock.js";
import { PAGE_BYTES, PageMemory } from "../page-memory.js";
import { missingIsUndefined, NEAR_GEOMETRY, type NearDirectory } from "./near-directory.js";
import type { NearFile } from "./near-files.js";
import type { SharedSpace } from "./shared-space.js";

export interface BlockWritesOptions {
  readonly directory: NearDirectory;
  readonly space: SharedSpace;
  readonly clock: Pick<Clock, "monotonicMs" | "after">;
  readonly nowMs: () => number;
  /** Called when pages of a block were written. */
  readonly onWritten: (id: BlockId) => void;
  /** Called when the disk fails, and when it works again: `error` is undefined then. */
  readonly onHealth: (error: unknown) => void;
}

/** One version of an object. */
export interface NearObject {
  readonly url: string;
  readonly version: string;
  readonly objectSize: number;
}

/** A page that waits for its write. */
interface StagedPage {
  readonly segment: number;
  readonly memory: Buffer;
  /** Fewer than a page only at the object's end. */
  readonly bytes: Buffer;
}

interface StagedBlock {
  readonly id: BlockId;
  readonly objectSize: number;
  readonly pages: Map<number, StagedPage>;
}

/** Pages that wait for their write, at most. If the disk is slower than the reads, the others are not written. */
const STAGED_BYTES = 32 << 20;
/** Pages wait so long for others of their block: a file is opened once for all of them. */
const DELAY_MS = 50;
/** Staged bytes that are written without a delay. */
const ENOUGH_BYTES = STAGED_BYTES / 4;
/** Pages of one write, whose CRCs are computed at a time. */
const RUN_PAGES = 16;
/** Nothing is written for this long after a failure. */
const PAUSE_MS = 10_000;
/** Space that a file needs beside its pages: the footer, and what the file system knows of it. */
const FILE_BYTES = 2 * FOOTER_BYTES;

/** Writes pages into block files, in the background and in order. Reads never wait for it. */
export class BlockWrites {
  readonly #options: BlockWritesOptions;
  readonly #memory = new PageMemory(STAGED_BYTES);
  readonly #staged = new Map<string, StagedBlock>();
  #stagedBytes = 0;
  #cancelDelay: (() => void) | undefined;
  #writing: Promise<void> | undefined;
  #pausedUntilMs = Number.NEGATIVE_INFINITY;
  #writtenBytes = 0;
  #skippedBytes = 0;
  #failures = 0;

  constructor(options: BlockWritesOptions) {
    this.#options = options;
  }

  get report(): { readonly writtenBytes: number; readonly skippedBytes: number; readonly failures: number } {
    return { writtenBytes: this.#writtenBytes, skippedBytes: this.#skippedBytes, failures: this.#failures };
  }

  /** Copies pages that were fetched, from a page's beginning, to the object's end or a page's. They are written soon if there is room. */
  add({ url, version, objectSize }: NearObject, offset: number, fetched: Buffer): void {
    const isPaused = this.#options.clock.monotonicMs() < this.#pausedUntilMs;
    for (let at = 0; at < fetched.length; at += PAGE_BYTES) {
      const bytes = fetched.subarray(at, at + PAGE_BYTES);
      const blockOffset = blockOffsetOf(offset + at, NEAR_GEOMETRY);
      const key = `${blockOffset}\n${version}\n${url}`;
      const block = this.#staged.get(key) ?? { id: { url, version, offset: blockOffset }, objectSize, pages: new Map() };
      const segment = segmentOf(offset + at - blockOffset, NEAR_GEOMETRY);
      if (block.pages.has(segment)) continue;
      const memory = isPaused ? undefined : this.#memory.take();
      if (memory === undefined) {
        this.#skippedBytes += bytes.length;
        continue;
      }
      bytes.copy(memory);
      block.pages.set(segment, { segment, memory, bytes: memory.subarray(0, bytes.length) });
      this.#staged.set(key, block);
      this.#stagedBytes += bytes.length;
    }
    if (this.#stagedBytes >= ENOUGH_BYTES) this.#start();
    else if (this.#stagedBytes > 0) this.#cancelDelay ??= this.#options.clock.after(DELAY_MS, () => this.#start());
  }

  /** Writes what waits. Resolves when everything is written or has failed; never rejects. */
  async flush(): Promise<void> {
    for (this.#start(); this.#writing !== undefined; this.#start()) await this.#writing;
  }

  #start(): void {
    this.#cancelDelay?.();
    this.#cancelDelay = undefined;
    if (this.#staged.size === 0) return;
    this.#writing ??= this.#writeAll().finally(() => {
      this.#writing = undefined;
    });
  }

  async #writeAll(): Promise<void> {
    for (const [key, block] of this.#staged) {
      this.#staged.delete(key);
      const pages = [...block.pages.values()].sort((a, b) => a.segment - b.segment);
      const most = Math.max(1, Math.floor((this.#options.space.mostBytes - FILE_BYTES) / PAGE_BYTES));
      for (let at = 0; at < pages.length; at += most) await this.#write(block, pages.slice(at, at + most));
    }
  }

  /** Writes pages of one block, or skips them. */
  async #write(block: StagedBlock, pages: readonly StagedPage[]): Promise<void> {
    const bytes = pages.reduce((sum, page) => sum + page.bytes.length, 0);
    const isPaused = this.#options.clock.monotonicMs() < this.#pausedUntilMs;
    try {
      if (!isPaused && (await this.#written(block, pages))) {
        this.#writtenBytes += bytes;
        this.#options.onWritten(block.id);
        this.#options.onHealth(undefined);
      } else this.#skippedBytes += bytes;
    } catch (error) {
      this.#failures++;
      this.#skippedBytes += bytes;
      this.#pausedUntilMs = this.#options.clock.monotonicMs() + PAUSE_MS;
      this.#options.onHealth(error);
    } finally {
      for (const { memory } of pages) this.#memory.give(memory);
      this.#stagedBytes -= bytes;
    }
  }

  /** Adds pages to the block's file, or creates it. Returns false if there is no room. */
  async #written(block: StagedBlock, pages: readonly StagedPage[]): Promise<boolean> {
    const { directory, space } = this.#options;
    if (!(await space.take(pages.length * PAGE_BYTES + FILE_BYTES))) return false;
    const path = directory.pathOf(block.id);
    const file = await missingIsUndefined(directory.files.open(path, "update"));
    if (file === undefined) return await this.#create(block, pages, path);
    let isValid = false;
    try {
      isValid = await this.#append(block, pages, file);
    } finally {
      await file.close();
    }
    if (isValid) return true;
    await directory.removeBlock(path);
    return await this.#create(block, pages, path);
  }

  /** Adds pages that the file does not have. Returns false if it is not a file of this block: somebody cut it, for example. */
  async #append(block: StagedBlock, pages: readonly StagedPage[], file: NearFile): Promise<boolean> {
    const known = await footerOf(file);
    if (known === undefined || !isOf(known, block)) return false;
    const missing = pages.filter(({ segment }) => known.crcs[segment] === undefined);
    if (missing.length === 0) return true;
    const added = await writePages(file, missing);
    // Other processes may have added pages meanwhile. If two write the footer at once, one's pages are lost: they are fetched again.
    const latest = (await footerOf(file)) ?? known;
    await this.#writeFooter(block, file, [...latest.crcs], added, latest.createdAtMs);
    return true;
  }

  /** Creates the file under another name: nobody sees it before it is complete. */
  async #create(block: StagedBlock, pages: readonly StagedPage[], path: string): Promise<boolean> {
    const { directory, nowMs } = this.#options;
    const { files } = directory;
    const temporary = directory.newTemporary();
    const count = segmentCount(blockLength(block.id.offset, block.objectSize, NEAR_GEOMETRY), NEAR_GEOMETRY);
    try {
      const file = await this.#openNew(temporary);
      try {
        const added = await writePages(file, pages);
        await this.#writeFooter(block, file, new Array<number | undefined>(count), added, nowMs());
      } finally {
        await file.close();
      }
      await directory.createFolder(block.id);
      await files.rename(temporary, path);
      return true;
    } catch (error) {
      await files.remove(temporary).catch(() => undefined);
      throw error;
    }
  }

  /** Creates a file, also if somebody has removed its directory. */
  async #openNew(path: string): Promise<NearFile> {
    const { directory } = this.#options;
    const file = await missingIsUndefined(directory.files.open(path, "create"));
    if (file !== undefined) return file;
    await directory.createDirectories();
    return await directory.files.open(path, "create");
  }

  /** Writes the footer: from now on, reads use the pages. */
  async #writeFooter(
    { id, objectSize }: StagedBlock,
    file: NearFile,
    crcs: (number | undefined)[],
    added: ReadonlyMap<number, number>,
    createdAtMs: number,
  ): Promise<void> {
    for (const [segment, crc] of added) crcs[segment] = crc;
    // The object's headers are not known here: reads of ranges do not carry them.
    const info = { version: id.version, objectSize, headers: "", lacks: "metadata" } as const;
    const footer = encodeFooter({ id, info, createdAtMs, crcs, drops: 0 }, NEAR_GEOMETRY);
    if (footer === undefined) throw new Error(`the footer of ${id.url} is too long`);
    await file.write([footer], NEAR_GEOMETRY.blockBytes);
  }
}

/** Writes pages, adjacent ones together. Returns their CRCs by segment. */
async function writePages(file: NearFile, pages: readonly StagedPage[]): Promise<Map<number, number>> {
  const crcs = new Map<number, number>();
  for (let at = 0; at < pages.length; ) {
    const first = pages[at]!.segment;
    let end = at + 1;
    while (end < pages.length && end - at < RUN_PAGES && pages[end]!.segment === first + end - at) end++;
    const run = pages.slice(at, end);
    for (const { segment, bytes } of run) crcs.set(segment, crc32(bytes));
    await file.write(
      run.map(({ bytes }) => bytes),
      first * PAGE_BYTES,
    );
    at = end;
  }
  return crcs;
}

/** Returns the footer of a file; undefined if it is no block file of this geometry. */
export async function footerOf(file: NearFile): Promise<BlockFooter | undefined> {
  const bytes = Buffer.alloc(FOOTER_BYTES);
  const count = await file.read(bytes, NEAR_GEOMETRY.blockBytes);
  return count === FOOTER_BYTES ? decodeFooter(bytes, NEAR_GEOMETRY) : undefined;
}

function isOf({ id, info }: BlockFooter, block: StagedBlock): boolean {
  const { url, version, offset } = block.id;
  return id.url === url && id.version === version && id.offset === offset && info.objectSize === block.objectSize;
}
