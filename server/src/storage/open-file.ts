import type { DiskFile } from "./disk/disk.js";
import type { Mapping } from "./mapping/mapping.js";
import type { RecentResidency } from "./mapping/recent-residency.js";
import type { References } from "./references.js";

/** What all mappings together have in the process's memory. */
export interface MappedMemory {
  /** Whether more fits. */
  readonly hasRoom: boolean;
  /** Notes that so many came; negative: that they have left. */
  grow(bytes: number): void;
}

interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** A block's open file with its mapping. It is closed when it has been retired and its last user is gone. */
export class OpenFile {
  readonly file: DiskFile;
  readonly mapping: Mapping | undefined;
  /** Of the mapping, where there is one. */
  readonly residency: RecentResidency | undefined;
  readonly references: References;
  readonly #onIdle: () => void;
  readonly #memory: MappedMemory;

  /** Reads, writes and slices that are under way. */
  users = 0;
  /** What of the mapping may be in this process's memory, where there is one. */
  readonly regions: MappedRegions | undefined;
  /** Ranges that are on their way from the disk to the page cache: touching them would wait for the disk. */
  readonly #arriving = new Set<ByteRange>();
  #retired: (() => void) | undefined;
  /** Users may have touched what the last `letGo` had let go. */
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

  /** Whether `[start, end)` of the mapping can be touched without others having to leave the process's memory for it. */
  isCheap(start: number, end: number): boolean {
    return this.#memory.hasRoom || this.regions!.areEntered(start, end);
  }

  /** A read is about to touch `[start, end)` of the mapping; calls back for what is worth entering into the page table ahead. */
  touch(start: number, end: number, onHot: (start: number, end: number) => void): void {
    const regions = this.regions!;
    if (regions.areEntered(start, end)) return;
    const before = regions.touchedBytes;
    regions.touch(start, end, onHot);
    if (regions.touchedBytes > before) this.#memory.grow(regions.touchedBytes - before);
  }

  /** Takes the mapping's pages out of this process's memory; those that its users touch after that, when the last one leaves. */
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

  /** Resolves when nobody uses it any more. No new user may come then. */
  idle(): Promise<void> {
    return new Promise((resolve) => {
      this.#retired = resolve;
      if (this.users === 0) resolve();
    });
  }

  /** Notes a read of cold pages; the returned function ends it. */
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
 * What one touch may bring into the process's memory at most: a huge page, where the page cache keeps the file in such, else
 * 64 KiB (Linux maps around a page that is touched).
 */
const REGION_BYTES = 2 << 20;

const UNTOUCHED = 0;
const TOUCHED = 1;
const ENTERED = 2;

/** Which regions of a mapping may be in this process's memory, as far as its reads go. */
export class MappedRegions {
  readonly #mappedBytes: number;

  readonly #states: Uint8Array;
  #touchedBytes = 0;

  constructor(mappedBytes: number) {
    this.#mappedBytes = mappedBytes;
    this.#states = new Uint8Array(Math.ceil(mappedBytes / REGION_BYTES));
  }

  /** Bytes of the regions touched since the last `clear`: more of the mapping is not in memory. */
  get touchedBytes(): number {
    return this.#touchedBytes;
  }

  /** Whether all of `[start, end)` is thought to be in the page table already. */
  areEntered(start: number, end: number): boolean {
    const last = regionOf(end - 1);
    for (let region = regionOf(start); region <= last; region++) if (this.#states[region] !== ENTERED) return false;
    return true;
  }

  /**
   * A read is about to touch `[start, end)`. Calls back for each region that it touches for the second time and does not enter
   * as a whole by itself: the rest of it is worth entering ahead.
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

  /** There are new bytes in the file, which nobody has touched. */
  grow(): void {
    for (let region = 0; region < this.#states.length; region++) {
      if (this.#states[region] === ENTERED) this.#states[region] = TOUCHED;
    }
  }

  /** Nothing of it is in memory any more. */
  clear(): void {
    this.#states.fill(UNTOUCHED);
    this.#touchedBytes = 0;
  }
}

function regionOf(position: number): number {
  return Math.floor(position / REGION_BYTES);
}
