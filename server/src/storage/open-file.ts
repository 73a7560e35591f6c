import type { DiskFile } from "./disk/disk.js";
import { MappedRegions } from "./mapping/mapped-regions.js";
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
  /** Reads, writes and slices that are under way. */
  users = 0;
  /** What of the mapping may be in this process's memory, where there is one. */
  readonly regions: MappedRegions | undefined;
  /** Ranges that are on their way from the disk to the page cache: touching them would wait for the disk. */
  readonly #arriving = new Set<ByteRange>();
  #retired: (() => void) | undefined;
  /** Users may have touched what the last `letGo` had let go. */
  #touchedBehind = false;

  /** `onIdle` is told whenever the last user leaves, `memory` of bytes that come into the process's memory. */
  constructor(
    readonly file: DiskFile,
    readonly mapping: Mapping | undefined,
    /** Of the mapping, where there is one. */
    readonly residency: RecentResidency | undefined,
    readonly references: References,
    private readonly onIdle: () => void,
    private readonly memory: MappedMemory,
  ) {
    this.regions = mapping && new MappedRegions(mapping.bytes.length);
  }

  /** Whether `[start, end)` of the mapping can be touched without others having to leave the process's memory for it. */
  isCheap(start: number, end: number): boolean {
    return this.memory.hasRoom || this.regions!.areEntered(start, end);
  }

  /** A read is about to touch `[start, end)` of the mapping; calls back for what is worth entering into the page table ahead. */
  touch(start: number, end: number, onHot: (start: number, end: number) => void): void {
    const regions = this.regions!;
    if (regions.areEntered(start, end)) return;
    const before = regions.touchedBytes;
    regions.touch(start, end, onHot);
    if (regions.touchedBytes > before) this.memory.grow(regions.touchedBytes - before);
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
    if (this.#retired === undefined) this.onIdle();
    else this.#retired();
  }

  #letGoRest(): void {
    const counted = this.regions?.touchedBytes ?? 0;
    this.letGo();
    this.memory.grow(-counted);
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
