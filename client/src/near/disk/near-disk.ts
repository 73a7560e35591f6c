import { type BlockId, blockOffsetOf } from "@frontcache/proto";
import { forEachConcurrent } from "@frontcache/proto/runtime";
import type { Log } from "../../client-log.js";
import { LocalReads } from "../../local/local-reads.js";
import { BufferLanding, PinnedObject } from "../../members/block-landing.js";
import type { Clock } from "../../members/clock.js";
import type { CallLimits, EvictSelector } from "../../members/ports.js";
import { BlockWrites, footerOf, type NearObject } from "./block-writes.js";
import { NEAR_GEOMETRY, NearDirectory } from "./near-directory.js";
import { type NearFiles, systemFiles } from "./near-files.js";
import { SharedSpace } from "./shared-space.js";

/** Where the near cache keeps blocks on disk, and how much. */
export interface NearDiskLimits {
  readonly path: string;
  readonly limitBytes: number;
}

export interface NearDiskOptions extends NearDiskLimits {
  readonly clock: Clock;
  readonly log: Log | undefined;
  readonly files?: NearFiles | undefined;
  readonly nowMs?: (() => number) | undefined;
}

/** Counts of the near cache's disk since the client was created. */
export interface NearDiskReport {
  /** Bytes that were read from block files. */
  readonly readBytes: number;
  /** Bytes that were written into them, and bytes that were not: the disk was too slow, too full, or failed. */
  readonly writtenBytes: number;
  readonly skippedBytes: number;
  /** Failed operations of the disk. Reads ask the cluster instead. */
  readonly failures: number;
  /** Block files that were removed because somebody had cut or changed them. */
  readonly damagedBlocks: number;
}

/** One version of an object. */
export type NearVersion = Pick<NearObject, "url" | "version">;

/** The pages to read, and their memory. */
export interface DiskTarget {
  /** The first page begins here. */
  readonly from: number;
  /** The last page ends here, or the object ends before. */
  readonly end: number;
  /** Whether the memory must not be written to when the read has ended. */
  readonly isCallers: boolean;
  /** Returns the offset at which the contiguous memory of the bytes from `offset` ends. `offset` is the beginning of a page. */
  contiguousEnd(offset: number): number;
  /** Returns the memory for bytes from the beginning of a page. They end at `contiguousEnd` or before. */
  place(offset: number, bytes: number, objectSize: number): Buffer;
}

/** Bytes from block files: the first `readBytes` of the target's pages. */
export interface DiskBytes {
  readonly readBytes: number;
  readonly objectSize: number;
}

const CONCURRENT = 2;

/** Recently read pages of objects in block files on a local disk, which several processes may share. */
export class NearDisk {
  readonly #directory: NearDirectory;
  readonly #space: SharedSpace;
  readonly #writes: BlockWrites;
  readonly #reads: LocalReads;
  readonly #options: NearDiskOptions;
  readonly #nowMs: () => number;
  readonly #removing = new Set<Promise<void>>();
  #hasFailed = false;
  #failures = 0;
  #damagedBlocks = 0;

  private constructor(options: NearDiskOptions, directory: NearDirectory) {
    const { clock, limitBytes, nowMs = Date.now } = options;
    this.#options = options;
    this.#nowMs = nowMs;
    this.#directory = directory;
    this.#space = new SharedSpace({ directory, limitBytes, clock, nowMs });
    this.#reads = new LocalReads({
      clock,
      volumes: [directory.path],
      verification: "every-read",
      report: (uses) => this.#touch(uses),
      onDamaged: (id) => this.#removeDamaged(id),
    });
    this.#writes = new BlockWrites({
      directory,
      space: this.#space,
      clock,
      nowMs,
      onWritten: (id) => this.#reads.expect(id, NEAR_GEOMETRY),
      onHealth: (error) => this.#noteHealth(error),
    });
  }

  /** Rejects with PERMISSION_DENIED if the directory cannot be used. */
  static async open(options: NearDiskOptions): Promise<NearDisk> {
    return new NearDisk(options, await NearDirectory.open({ path: options.path, files: options.files ?? systemFiles }));
  }

  get report(): NearDiskReport {
    const { writtenBytes, skippedBytes, failures } = this.#writes.report;
    const { bytes: readBytes } = this.#reads.report;
    return { readBytes, writtenBytes, skippedBytes, failures: failures + this.#failures, damagedBlocks: this.#damagedBlocks };
  }

  /**
   * Reads the pages of the target, block by block until one is not complete. Undefined if not even the first one is. Rejects only with
   * the error that ended the call.
   */
  async read({ url, version }: NearVersion, target: DiskTarget, limits: CallLimits): Promise<DiskBytes | undefined> {
    const pinned = new PinnedObject(url, version);
    let readBytes = 0;
    for (let offset = target.from; offset < Math.min(target.end, pinned.objectSize ?? target.end); ) {
      const blockOffset = blockOffsetOf(offset, NEAR_GEOMETRY);
      const end = Math.min(target.contiguousEnd(offset), blockOffset + NEAR_GEOMETRY.blockBytes);
      const place = (bytes: number): Buffer => target.place(offset, bytes, pinned.objectSize!);
      const span = { blockOffset, offset, length: end - offset };
      const landing = new BufferLanding(span, { pinned, place, mayBeLeft: !target.isCallers });
      if (!(await this.#reads.read(landing, NEAR_GEOMETRY, limits))) break;
      readBytes += landing.landedBytes;
      offset = end;
    }
    return readBytes === 0 ? undefined : { readBytes, objectSize: pinned.objectSize! };
  }

  /** Copies pages that were fetched, and writes them in the background. */
  keep(object: NearObject, offset: number, fetched: Buffer): void {
    this.#writes.add(object, offset, fetched);
  }

  /** Removes the blocks of an object, or of all objects with a prefix; of one version if the selector names one. */
  async evict(selector: EvictSelector): Promise<void> {
    await this.#writes.flush();
    try {
      await forEachConcurrent(await this.#directory.blocks(), CONCURRENT, async ({ path }) => {
        const id = await this.#idOf(path);
        if (id === undefined || (selector.version ?? id.version) !== id.version) return;
        const isSelected = "prefix" in selector ? id.url.startsWith(selector.prefix) : id.url === selector.url;
        if (isSelected) await this.#directory.removeBlock(path);
      });
    } catch (error) {
      this.#failures++;
      this.#noteHealth(error);
    }
  }

  /** Resolves when everything that waits is written. */
  async flush(): Promise<void> {
    await this.#writes.flush();
  }

  /** Writes what waits, and closes all files. */
  async close(): Promise<void> {
    await this.#writes.flush();
    await this.#reads.close();
    await Promise.all(this.#removing);
    await this.#space.close();
  }

  /** Undefined if the file is gone or damaged. */
  async #idOf(path: string): Promise<BlockId | undefined> {
    try {
      const file = await this.#directory.files.open(path, "update");
      try {
        return (await footerOf(file))?.id;
      } finally {
        await file.close();
      }
    } catch {
      return undefined;
    }
  }

  /** Files are removed in the order of their times. A file that is gone needs none. */
  async #touch(uses: readonly BlockId[]): Promise<void> {
    await forEachConcurrent(uses, CONCURRENT, (id) =>
      this.#directory.files.setModified(this.#directory.pathOf(id), this.#nowMs()).catch(() => undefined),
    );
  }

  #removeDamaged(id: BlockId): void {
    this.#damagedBlocks++;
    const removing = this.#directory
      .removeBlock(this.#directory.pathOf(id))
      .catch((error: unknown) => {
        this.#failures++;
        this.#noteHealth(error);
      })
      .finally(() => this.#removing.delete(removing));
    this.#removing.add(removing);
  }

  /** Logs the first failure, and the end of failures. */
  #noteHealth(error: unknown): void {
    const hasFailed = error !== undefined;
    if (hasFailed === this.#hasFailed) return;
    this.#hasFailed = hasFailed;
    const { log, path } = this.#options;
    if (hasFailed) {
      const message = `near.disk: ${path} can't be written, reads ask the cluster: ${(error as Error).message}`;
      log?.({ level: "warn", event: "near-disk-failed", message, error });
    } else log?.({ level: "info", event: "near-disk-recovered", message: `near.disk: ${path} can be written again` });
  }
}
