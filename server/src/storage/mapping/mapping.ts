import type { DiskFile } from "../disk/disk.js";
import { type Address, type Libc, loadLibc } from "./libc.js";
import { PageCopies, type PageCopy } from "./page-copies.js";
import { type Residency, reachesTo, systemResidency } from "./residency.js";

/** A block file's bytes in memory. */
export interface Mapping {
  /** Touch only bytes for which `isResident` has just returned true. Other touches wait for the disk or kill the process. */
  readonly bytes: Buffer;
  /** Returns whether `[start, end)` is inside the file and can be touched without waiting for the disk. Takes about 1 us. */
  isResident(start: number, end: number): boolean;
  /** Returns whether the file still has bytes up to `end`. */
  reaches(end: number): boolean;
  /** Prefaults pages outside the main thread; skipped under load. Never rejects. */
  populate(start: number, end: number): Promise<void>;
  /** Releases its pages from this process's memory. They stay in the page cache, and the next touch maps them again. */
  letGo(): void;
  /** Unmaps the file. `bytes` must not be touched afterwards. */
  unmap(): void;
}

/** The port of mapping files. */
export interface Mapper {
  /** Maps the first `lengthBytes` of a file; undefined if that is impossible. Never throws. */
  map(file: DiskFile, lengthBytes: number): Mapping | undefined;
  /** Returns the bytes of a small range without a mapping, if they are in memory and the system supports it: see PageCopies. */
  copy(file: DiskFile, start: number, end: number): PageCopy | undefined;
}

/** Maps nothing: all reads are plain reads. */
export const noMapping: Mapper = { map: () => undefined, copy: () => undefined };

export interface MapperOptions {
  /** The longest mapping. */
  readonly blockBytes: number;
  /** Maximum number of mappings of each size of slot. */
  readonly maxMappings: number;
}

/** Opens a mapper that uses mmap(2); `noMapping` without koffi or Linux. */
export async function openMapper(options: MapperOptions): Promise<Mapper> {
  const libc = await loadLibc();
  return libc === undefined ? noMapping : new SystemMapper(libc, systemResidency(libc), options);
}

const PROT_NONE = 0;
const PROT_READ = 1;
const MAP_SHARED = 1;
const MAP_PRIVATE = 2;
const MAP_FIXED = 16;
const MAP_ANONYMOUS = 32;
const MAP_NORESERVE = 0x4000;
const POSIX_FADV_RANDOM = 1;
const MADV_DONTNEED = 4;
const MADV_POPULATE_READ = 22;
const MAP_FAILED = 2n ** 64n - 1n;

/** Maximum concurrent calls. Koffi throws if too many calls wait (256), and the page table's lock limits the gain. */
const MAX_POPULATING = 4;

/** Slots per slab, if they fit: with 16 MiB blocks, 1 GiB of addresses. */
const SLAB_SLOTS = 64;
/** Maximum addresses of a slab, unless one slot is larger: V8 crashes on an ArrayBuffer of 8 GiB. */
const SLAB_BYTES = 1 << 30;
/** Alignment of slots that are at least as large, because huge pages of the page cache can only be mapped aligned. */
const HUGE_PAGE_BYTES = 2 << 20;
/** Slots beyond `maxMappings`, for mappings that are being closed. */
const SPARE_SLOTS = 64;
/** Sizes of slots for files that are smaller than a block. */
const SMALL_SLOTS = [64 << 10, 1 << 20];

interface Slot {
  readonly address: Address;
  readonly bytes: Buffer;
}

/**
 * Maps files into slots of address space that are reserved once, each with one permanent ArrayBuffer. A new
 * ArrayBuffer for every mapping would also work, but V8 counts each as future garbage of its size, and collects the whole
 * heap every few mappings. For the same reason, files of small objects get small slots.
 */
export class SystemMapper implements Mapper {
  readonly #libc: Libc;
  readonly #residency: Residency;
  readonly #copies: PageCopies | undefined;
  /** In ascending order of their slots' sizes. */
  readonly #slots: readonly Slots[];
  #populating = 0;

  constructor(libc: Libc, residency: Residency, { blockBytes, maxMappings }: MapperOptions) {
    this.#libc = libc;
    this.#residency = residency;
    this.#copies = PageCopies.open(libc);
    const sizes = [...SMALL_SLOTS.filter((bytes) => bytes < blockBytes), blockBytes];
    this.#slots = sizes.map((bytes) => new Slots(libc, bytes, maxMappings + SPARE_SLOTS));
  }

  map({ fd }: DiskFile, lengthBytes: number): Mapping | undefined {
    const slots = this.#slots.find(({ slotBytes }) => lengthBytes <= slotBytes);
    const slot = fd === undefined ? undefined : slots?.take();
    if (fd === undefined || slots === undefined || slot === undefined) return undefined;
    if (this.#libc.mmap(slot.address, lengthBytes, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) !== slot.address) {
      slots.give(slot);
      return undefined;
    }
    // No read-ahead: prefetched pages would look resident before they are.
    this.#libc.posixFadvise(fd, 0, 0, POSIX_FADV_RANDOM);
    return this.#mapping(slots, slot, fd);
  }

  copy({ fd }: DiskFile, start: number, end: number): PageCopy | undefined {
    return fd === undefined ? undefined : this.#copies?.take(fd, start, end);
  }

  #mapping(slots: Slots, slot: Slot, fd: number): Mapping {
    const residency = this.#residency;
    return {
      bytes: slot.bytes,
      isResident: (start, end) => residency.isResident(fd, slot.address, start, end),
      reaches: (end) => reachesTo(this.#libc, fd, end),
      populate: (start, end) => this.#populate(slot, start, end),
      letGo: () => void this.#libc.madvise(slot.address, slots.slotBytes, MADV_DONTNEED),
      unmap: () => slots.give(slot),
    };
  }

  #populate(slot: Slot, start: number, end: number): Promise<void> {
    if (this.#populating === MAX_POPULATING) return Promise.resolve();
    const pageBytes = this.#libc.getpagesize();
    const first = Math.floor(start / pageBytes) * pageBytes;
    this.#populating++;
    return new Promise((resolve) => {
      this.#libc.madvise.async(slot.address + BigInt(first), end - first, MADV_POPULATE_READ, () => {
        this.#populating--;
        resolve();
      });
    });
  }
}

/** Slots of one size, for files of up to this size. They are reserved slab by slab, and reused. */
class Slots {
  /** A multiple of the page size. */
  readonly slotBytes: number;
  readonly #libc: Libc;
  readonly #capacity: number;
  readonly #free: Slot[] = [];
  #reserved = 0;

  constructor(libc: Libc, lengthBytes: number, capacity: number) {
    const alignment = lengthBytes < HUGE_PAGE_BYTES ? libc.getpagesize() : HUGE_PAGE_BYTES;
    this.slotBytes = Math.ceil(lengthBytes / alignment) * alignment;
    this.#libc = libc;
    this.#capacity = capacity;
  }

  /** Undefined if all are in use. */
  take(): Slot | undefined {
    if (this.#free.length === 0) this.#addSlab();
    return this.#free.pop();
  }

  /** Unmaps a slot but keeps its addresses reserved. If that fails, the slot is not used again. */
  give(slot: Slot): void {
    const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
    const address = this.#libc.mmap(slot.address, this.slotBytes, PROT_NONE, flags, -1, 0);
    if (address === slot.address) this.#free.push(slot);
  }

  #addSlab(): void {
    const fitting = Math.max(1, Math.floor(SLAB_BYTES / this.slotBytes));
    const slots = Math.min(SLAB_SLOTS, fitting, this.#capacity - this.#reserved);
    if (slots <= 0) return;
    const lengthBytes = slots * this.slotBytes;
    const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    const reserved = this.#libc.mmap(0n, lengthBytes + HUGE_PAGE_BYTES, PROT_NONE, flags, -1, 0);
    if (reserved === MAP_FAILED) return;
    const address = ((reserved + BigInt(HUGE_PAGE_BYTES - 1)) / BigInt(HUGE_PAGE_BYTES)) * BigInt(HUGE_PAGE_BYTES);
    const slab = this.#libc.view(address, lengthBytes);
    this.#reserved += slots;
    for (let slot = 0; slot < slots; slot++) {
      const at = slot * this.slotBytes;
      this.#free.push({ address: address + BigInt(at), bytes: Buffer.from(slab, at, this.slotBytes) });
    }
  }
}
