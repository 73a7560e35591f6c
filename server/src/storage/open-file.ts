import type { DiskFile } from "./disk/disk.js";
import type { Mapping } from "./mapping/mapping.js";
import type { RecentResidency } from "./mapping/recent-residency.js";
import type { References } from "./references.js";

/** The process's memory used by all mappings. */
export interface MappedMemory {
  /** Returns whether more fits. */
  readonly hasRoom: boolean;
  /** Records added bytes; negative: removed bytes. */
  grow(bytes: number): void;
}

interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** A block's open file with its mapping. It is closed after it was retired and its last user has finished. */
export class OpenFile {
  readonly file: DiskFile;
  readonly mapping: Mapping | undefined;
  /** Residency of the mapping, if there is one. */
  readonly residency: RecentResidency | undefined;
  readonly references: References;
  readonly #onIdle: () => void;
  readonly #memory: MappedMemory;

  /** Number of running reads, writes and slices. */
  users = 0;
  /** The parts of the mapping that may be in this process's memory, if there is a mapping. */
  readonly regions: MappedRegions | undefined;
  /** Ranges that are being read from the disk into the page cache: touching them would wait for the disk. */
  readonly #arriving = new Set<ByteRange>();
  #retired: (() => void) | undefined;
  /** Whether users may have touched pages that the last `letGo` released. */
  #touchedBehind = false;

  constructor(
    file: DiskFile,
    mapping: Mapping | undefined,
    residency: RecentResidency | undefined,
    references: References,
    onIdle: () => void,
    memory: MappedMemory,
  ) {
    this.file = file;
    this.mapping = mapping;
    this.residency = residency;
    this.references = references;
    this.#onIdle = onIdle;
    this.#memory = memory;
    this.regions = mapping && new MappedRegions(mapping.bytes.length);
  }

  /** Returns whether `[start, end)` of the mapping can be touched without displacing other pages from the process's memory. */
  isCheap(start: number, end: number): boolean {
    return this.#memory.hasRoom || this.regions!.areEntered(start, end);
  }

  /** Call before a read touches `[start, end)` of the mapping. Calls back for ranges that are worth prefaulting. */
  touch(start: number, end: number, onHot: (start: number, end: number) => void): void {
    const regions = this.regions!;
    if (regions.areEntered(start, end)) return;
    const before = regions.touchedBytes;
    regions.touch(start, end, onHot);
    if (regions.touchedBytes > before) this.#memory.grow(regions.touchedBytes - before);
  }

  /** Releases the mapping's pages from this process's memory; pages touched afterwards are released with the last user. */
  letGo(): void {
    this.mapping?.letGo();
    this.regions?.clear();
    this.#touchedBehind = this.users > 0;
  }

  pin(): void {
    this.users++;
  }

  unpin(): void {
    this.users--;
    if (this.users > 0) return;
    if (this.#touchedBehind) this.#letGoRest();
    if (this.#retired === undefined) this.#onIdle();
    else this.#retired();
  }

  #letGoRest(): void {
    const counted = this.regions?.touchedBytes ?? 0;
    this.letGo();
    this.#memory.grow(-counted);
  }

  /** Resolves when it has no users. It must get no new users then. */
  idle(): Promise<void> {
    return new Promise((resolve) => {
      this.#retired = resolve;
      if (this.users === 0) resolve();
    });
  }

  /** Records a read of cold pages; the returned function ends it. */
  arrive(start: number, end: number): () => void {
    const range = { start, end };
    this.#arriving.add(range);
    return () => this.#arriving.delete(range);
  }

  isArriving(start: number, end: number): boolean {
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
