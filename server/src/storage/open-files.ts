import { SingleFlight } from "@frontcache/proto/runtime";
import type { Clock } from "../runtime/clock.js";
import type { CachedBlock } from "./cached-block.js";
import type { Disk, DiskFile } from "./disk/disk.js";
import { systemCode, systemError } from "./disk/disk.js";
import type { Mapper } from "./mapping/mapping.js";
import { MAX_COPY_BYTES } from "./mapping/page-copies.js";
import { OpenFile, type OpenFileContext } from "./open-file.js";
import type { References } from "./references.js";

export interface OpenFilesOptions {
  readonly disk: Disk;
  readonly mapper: Mapper;
  /** Maximum open files. Files in use are not closed, so the number may be exceeded temporarily. */
  readonly capacity: number;
  /** Approximate limit of this process's memory used by mappings, bytes. */
  readonly residentBytes: number;
  readonly references: References;
  readonly clock: Pick<Clock, "monotonicMs">;
}

/** The open block files, the least recently used first. */
export class OpenFiles {
  readonly #options: OpenFilesOptions;

  readonly #order = new Set<CachedBlock>();
  readonly #opening = new SingleFlight<CachedBlock, OpenFile>();
  readonly #closing = new Map<CachedBlock, Promise<void>>();
  #mappings = 0;
  #open = 0;
  #touchedBytes = 0;
  readonly #shared: OpenFileContext;

  constructor(options: OpenFilesOptions) {
    this.#options = options;
    const { mapper, clock, references, residentBytes } = options;
    const hasRoom = (): boolean => this.#touchedBytes < residentBytes;
    const memory = {
      get hasRoom() {
        return hasRoom();
      },
      grow: (bytes: number) => this.#touched(bytes),
      count: (mappings: number) => {
        this.#mappings += mappings;
      },
    };
    this.#shared = { mapper, clock, references, memory, onIdle: () => this.#closeExcess() };
  }

  /** Number of mappings. */
  get mappings(): number {
    return this.#mappings;
  }

  /** Number of open descriptors. */
  get openFiles(): number {
    return this.#open;
  }

  recordUse(block: CachedBlock): void {
    if (block.open === undefined) return;
    this.#order.delete(block);
    this.#order.add(block);
  }

  /** Opens the block's file and pins it: `unpin` it after use. Rejects with the system's error, ENOENT for a retired block. */
  async use(block: CachedBlock): Promise<OpenFile> {
    // A file that was opened for several callers may be closed again before the last of them continues.
    while (block.open === undefined) await this.#opening.run(block, () => this.#openFile(block));
    block.open.pin();
    return block.open;
  }

  /** Takes over the file that the block's writer has opened. It is mapped by the first read that needs a mapping. */
  adopt(block: CachedBlock, file: DiskFile): OpenFile {
    this.#open++;
    block.open = new OpenFile(file, block.segments.blockBytes, this.#shared);
    this.#order.add(block);
    if (this.#order.size > this.#options.capacity) void this.#closeBeyond(this.#options.capacity, block);
    return block.open;
  }

  /** Closes the block's file after its last user; resolves then. */
  async close(block: CachedBlock): Promise<void> {
    await this.#opening.running(block)?.catch(() => undefined);
    const { open } = block;
    if (open === undefined) return this.#closing.get(block);
    block.open = undefined;
    this.#order.delete(block);
    const closing = this.#close(open).finally(() => {
      if (this.#closing.get(block) === closing) this.#closing.delete(block);
    });
    this.#closing.set(block, closing);
    await closing;
  }

  async #close(open: OpenFile): Promise<void> {
    await open.idle();
    open.unmap();
    // Even if closing fails, the descriptor is closed.
    await open.file.close().catch(() => undefined);
    this.#open--;
  }

  /** Closes every file; resolves when all unused files are closed. */
  async closeUnused(): Promise<void> {
    const closing = [...this.#order].map((block) => ({ isUsed: (block.open?.users ?? 0) > 0, closed: this.close(block) }));
    await Promise.all(closing.filter(({ isUsed }) => !isUsed).map(({ closed }) => closed));
  }

  async #openFile(block: CachedBlock): Promise<OpenFile> {
    try {
      return this.#adoptRead(block, await this.#openPath(block));
    } catch (error) {
      if (systemCode(error) !== "EMFILE" && systemCode(error) !== "ENFILE") throw error;
      await this.#closeBeyond(this.#order.size >> 1, block);
      return this.#adoptRead(block, await this.#openPath(block));
    }
  }

  /** Mapped before the first read, unless copies suffice: the kernel reads ahead of reads of a file that is not mapped. */
  #adoptRead(block: CachedBlock, file: DiskFile): OpenFile {
    const open = this.adopt(block, file);
    if (block.segments.blockBytes > MAX_COPY_BYTES) open.map();
    return open;
  }

  async #openPath(block: CachedBlock): Promise<DiskFile> {
    const close = (file: DiskFile): void => void file.close().catch(() => undefined);
    const file = await block.volume.gate.run(() => this.#options.disk.open(block.path, "read"), close);
    if (!block.retired) return file;
    // Another file with other segments may have the name now.
    close(file);
    throw systemError("ENOENT", block.path);
  }

  /**
   * The pages of mappings belong to the page cache, but they count as this process's memory while they are in its page table.
   * Above the limit, the pages of the least recently used blocks are released until half of the limit is used.
   */
  #touched(bytes: number): void {
    const { residentBytes } = this.#options;
    this.#touchedBytes += bytes;
    if (this.#touchedBytes <= residentBytes) return;
    for (const { open } of this.#order) {
      const touchedBytes = open?.touchedBytes ?? 0;
      if (touchedBytes === 0) continue;
      this.#touchedBytes -= touchedBytes;
      open!.letGo();
      if (this.#touchedBytes <= residentBytes / 2) return;
    }
  }

  #closeExcess(): void {
    if (this.#order.size > this.#options.capacity) void this.#closeBeyond(this.#options.capacity);
  }

  /** Closes unused files, the least recently used first, until `capacity` are open; never the current one. */
  async #closeBeyond(capacity: number, inHand?: CachedBlock): Promise<void> {
    const closing: Promise<void>[] = [];
    let excess = this.#order.size - capacity;
    for (const block of this.#order) {
      if (excess <= 0) break;
      if (block === inHand || block.retired || block.open!.users > 0) continue;
      closing.push(this.close(block));
      excess--;
    }
    await Promise.all(closing);
  }
}
