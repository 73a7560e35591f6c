import type { Linked } from "@frontcache/proto/runtime";
import type { Clock } from "../runtime/clock.js";
import type { CachedBlock } from "./cached-block.js";
import type { DiskFile } from "./disk/disk.js";
import type { Mapper, Mapping } from "./mapping/mapping.js";
import type { PageCopy } from "./mapping/page-copies.js";
import { RecentResidency } from "./mapping/recent-residency.js";
import type { References } from "./references.js";

/** What all open files share. */
export interface OpenFileContext {
  readonly mapper: Mapper;
  readonly clock: Pick<Clock, "monotonicMs">;
  readonly references: References;
  readonly memory: MappedMemory;
  /** Called when a file has no users any more. */
  readonly onIdle: () => void;
}

/** The process's memory used by all mappings, and their number. */
export interface MappedMemory {
  /** Returns whether more fits. */
  readonly hasRoom: boolean;
  /** Records added bytes; negative: removed bytes. */
  grow(bytes: number): void;
  /** Records a mapping (1), or the end of one (-1). */
  count(mappings: number): void;
}

interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** A mapping of an open file. */
export interface MappedFile {
  readonly mapping: Mapping;
  readonly residency: RecentResidency;
  /** The parts of the mapping that may be in this process's memory. */
  readonly regions: MappedRegions;
}

/** A block's open file. It is closed after it was retired and its last user has finished. */
export class OpenFile implements Linked<OpenFile> {
  readonly block: CachedBlock;
  readonly file: DiskFile;
  readonly shared: OpenFileContext;
  /** Only OpenFiles writes them. */
  previous: OpenFile | undefined;
  next: OpenFile | undefined;

  /** Number of running reads, writes and slices. */
  users = 0;
  /** Its mapping, made when a read needs it. "impossible": there is none, and will be none. */
  #mapped: MappedFile | "impossible" | undefined;
  /** Ranges that are being read from the disk into the page cache: touching them would wait for the disk. */
  #arriving: Set<ByteRange> | undefined;
  #retired: (() => void) | undefined;
  /** Whether users may have touched pages that the last `letGo` released. */
  #touchedBehind = false;

  constructor(block: CachedBlock, file: DiskFile, shared: OpenFileContext) {
    this.block = block;
    this.file = file;
    this.shared = shared;
  }

  /** The file's mapping, if a read has needed it. */
  get mapped(): MappedFile | undefined {
    return this.#mapped === "impossible" ? undefined : this.#mapped;
  }

  /** Maps the file. Returns undefined if that is impossible. */
  map(): MappedFile | undefined {
    if (this.#mapped === undefined) this.#mapped = this.#newMapping() ?? "impossible";
    return this.mapped;
  }

  #newMapping(): MappedFile | undefined {
    const { mapper, clock, memory } = this.shared;
    const { blockBytes } = this.block.segments;
    const mapping = mapper.map(this.file, blockBytes);
    if (mapping === undefined) return undefined;
    memory.count(1);
    return {
      mapping,
      residency: new RecentResidency(mapping, clock, blockBytes),
      regions: new MappedRegions(blockBytes),
    };
  }

  /** Returns the bytes of a small range without the mapping, if they are in memory. */
  copy(start: number, end: number): PageCopy | undefined {
    return this.shared.mapper.copy(this.file, start, end);
  }

  /** Returns whether `[start, end)` of a mapping can be touched without displacing other pages from the process's memory. */
  isCheap(start: number, end: number): boolean {
    const { mapped } = this;
    return mapped !== undefined && (this.shared.memory.hasRoom || mapped.regions.areEntered(start, end));
  }

  /** Call before a read touches `[start, end)` of the mapping. Calls back for ranges that are worth prefaulting. */
  touch(start: number, end: number, onHot: (start: number, end: number) => void): void {
    const regions = this.mapped?.regions;
    if (regions === undefined || regions.areEntered(start, end)) return;
    const before = regions.touchedBytes;
    regions.touch(start, end, onHot);
    if (regions.touchedBytes > before) this.shared.memory.grow(regions.touchedBytes - before);
  }

  /** Records new bytes in the file, which were not touched yet. */
  grow(): void {
    this.mapped?.regions.grow();
  }

  /** Bytes of the mapping that may be in this process's memory. */
  get touchedBytes(): number {
    return this.mapped?.regions.touchedBytes ?? 0;
  }

  /** Releases the mapping's pages from this process's memory; pages touched afterwards are released with the last user. */
  letGo(): void {
    const { mapped } = this;
    mapped?.mapping.letGo();
    mapped?.regions.clear();
    this.#touchedBehind = this.users > 0;
  }

  /** Unmaps the file. Call when it has no users and gets no new ones. */
  unmap(): void {
    const { mapped } = this;
    if (mapped === undefined) return;
    const { memory } = this.shared;
    memory.grow(-mapped.regions.touchedBytes);
    memory.count(-1);
    mapped.mapping.unmap();
    this.#mapped = "impossible";
  }

  pin(): void {
    this.users++;
  }

  unpin(): void {
    this.users--;
    if (this.users > 0) return;
    if (this.#touchedBehind) this.#letGoRest();
    if (this.#retired === undefined) this.shared.onIdle();
    else this.#retired();
  }

  #letGoRest(): void {
    const counted = this.touchedBytes;
    this.letGo();
    this.shared.memory.grow(-counted);
  }

  /** Resolves when it has no users. It must get no new users then. Undefined: it has none now. */
  idle(): Promise<void> | undefined {
    if (this.users === 0) return undefined;
    return new Promise((resolve) => {
      this.#retired = resolve;
    });
  }

  /** Records a read of cold pages; the returned function ends it. */
  arrive(start: number, end: number): () => void {
    const range = { start, end };
    this.#arriving ??= new Set();
    this.#arriving.add(range);
    return () => this.#arriving!.delete(range);
  }

  isArriving(start: number, end: number): boolean {
    if (this.#arriving === undefined) return false;
    for (const range of this.#arriving) {
      if (range.start < end && start < range.end) return true;
    }
    return false;
  }
}

/**
 * Maximum memory that one touch may add: a huge page, if the page cache keeps the file in huge pages, otherwise
 * 64 KiB (Linux maps the neighbours of a touched page).
 */
const REGION_BYTES = 2 << 20;

const UNTOUCHED = 0;
const TOUCHED = 1;
const ENTERED = 2;

/** Tracks the regions of a mapping that may be in this process's memory because of its reads. */
export class MappedRegions {
  readonly #mappedBytes: number;

  readonly #states: Uint8Array;
  #touchedBytes = 0;

  constructor(mappedBytes: number) {
    this.#mappedBytes = mappedBytes;
    this.#states = new Uint8Array(Math.ceil(mappedBytes / REGION_BYTES));
  }

  /** Bytes of the regions touched since the last `clear`, an upper bound of the mapping's memory. */
  get touchedBytes(): number {
    return this.#touchedBytes;
  }

  /** Returns whether all of `[start, end)` is probably in the page table. */
  areEntered(start: number, end: number): boolean {
    const last = regionOf(end - 1);
    for (let region = regionOf(start); region <= last; region++) if (this.#states[region] !== ENTERED) return false;
    return true;
  }

  /**
   * Call before a read touches `[start, end)`. Calls back for each region that is touched for the second time and not covered
   * completely by this read: the rest of it is worth prefaulting.
   */
  touch(start: number, end: number, onHot: (start: number, end: number) => void): void {
    const last = regionOf(end - 1);
    for (let region = regionOf(start); region <= last; region++) {
      const regionStart = region * REGION_BYTES;
      const regionEnd = Math.min(regionStart + REGION_BYTES, this.#mappedBytes);
      const state = this.#states[region];
      const isWhole = start <= regionStart && regionEnd <= end;
      if (state === UNTOUCHED) this.#touchedBytes += regionEnd - regionStart;
      this.#states[region] = isWhole || state !== UNTOUCHED ? ENTERED : TOUCHED;
      if (state === TOUCHED && !isWhole) onHot(regionStart, regionEnd);
    }
  }

  /** Records new bytes in the file, which were not touched yet. */
  grow(): void {
    for (let region = 0; region < this.#states.length; region++) {
      if (this.#states[region] === ENTERED) this.#states[region] = TOUCHED;
    }
  }

  /** Records that nothing of it is in memory. */
  clear(): void {
    this.#states.fill(UNTOUCHED);
    this.#touchedBytes = 0;
  }
}

function regionOf(position: number): number {
  return Math.floor(position / REGION_BYTES);
}
