import { LinkedList, SingleFlight } from "@frontcache/proto/runtime";
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

  readonly #order = new LinkedList<OpenFile>();
  readonly #opening = new SingleFlight<CachedBlock, OpenFile>();
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
    const { open } = block;
    if (open === undefined) return;
    this.#order.delete(open);
    this.#order.add(open);
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
    const open = new OpenFile(block, file, this.#shared);
    block.open = open;
    this.#order.add(open);
    this.#closeExcess(open);
    return open;
  }

  /** Closes the block's file after its last user; resolves then. */
  async close(block: CachedBlock): Promise<void> {
    await this.#opening.running(block)?.catch(() => undefined);
    await (block.open === undefined ? block.closing : this.#close(block.open));
  }

  #close(open: OpenFile): Promise<void> {
    const { block } = open;
    block.open = undefined;
    this.#order.delete(open);
    const idle = open.idle();
    const ended = (): void => {
      this.#open--;
      if (block.closing === closing) block.closing = undefined;
    };
    const close = (): Promise<void> => {
      open.unmap();
      return open.file.close();
    };
    // Even if closing fails, the descriptor is closed.
    const closing = (idle === undefined ? close() : idle.then(close)).then(ended, ended);
    block.closing = closing;
    return closing;
  }

  /** Closes every file; resolves when all unused files are closed. */
  async closeUnused(): Promise<void> {
    const unused: Promise<void>[] = [];
    for (let open = this.#order.first; open !== undefined; open = this.#order.first) {
      const isUsed = open.users > 0;
      const closed = this.#close(open);
      if (!isUsed) unused.push(closed);
    }
    await Promise.all(unused);
  }

  async #openFile(block: CachedBlock): Promise<OpenFile> {
    try {
      return this.#adoptRead(block, await this.#openPath(block));
    } catch (error) {
      if (systemCode(error) !== "EMFILE" && systemCode(error) !== "ENFILE") throw error;
      const closing: Promise<void>[] = [];
      this.#closeBeyond(this.#order.size >> 1, undefined, (closed) => closing.push(closed));
      await Promise.all(closing);
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
    for (let open = this.#order.first; open !== undefined; open = open.next) {
      const { touchedBytes } = open;
      if (touchedBytes === 0) continue;
      this.#touchedBytes -= touchedBytes;
      open.letGo();
      if (this.#touchedBytes <= residentBytes / 2) return;
    }
  }

  #closeExcess(inHand?: OpenFile): void {
    const { capacity } = this.#options;
    if (this.#order.size > capacity) this.#closeBeyond(capacity, inHand);
  }

  /** Closes unused files, the least recently used first, until `capacity` are open; never the current one. */
  #closeBeyond(capacity: number, inHand?: OpenFile, onClosing?: (closed: Promise<void>) => void): void {
    let excess = this.#order.size - capacity;
    for (let open = this.#order.first; open !== undefined && excess > 0; ) {
      const { next } = open;
      if (open !== inHand && !open.block.retired && open.users === 0) {
        const closed = this.#close(open);
        onClosing?.(closed);
        excess--;
      }
      open = next;
    }
  }
}
