import type { DiskFile } from "../disk/disk.js";
import { type Address, type Libc, loadLibc } from "./libc.js";
import { PageCopies, type PageCopy } from "./page-copies.js";
import { type Residency, reachesTo, systemResidency } from "./residency.js";

/** A block file's bytes in memory. */
export interface Mapping {
  /** Touch them only where `isResident` has just said yes: elsewhere the process waits for the disk, or dies. */
  readonly bytes: Buffer;
  /** Whether `[start, end)` lies inside the file and can be touched without waiting for the disk. At once, about 1 us. */
  isResident(start: number, end: number): boolean;
  /** The bytes of a small range without touching the mapping, where they are in memory and there is a way: see PageCopies. */
  copy(start: number, end: number): PageCopy | undefined;
  /** Whether the file still has bytes up to `end`. */
  reaches(end: number): boolean;
  /** Enters pages into the page table, off the main thread; skipped when that is busy. Never rejects. */
  populate(start: number, end: number): Promise<void>;
  /** Takes its pages out of this process's memory; they stay in the page cache, and the next touch brings them back. */
  letGo(): void;
  /** Ends it. Nothing may touch `bytes` afterwards. */
  unmap(): void;
}

/** Maps files, or does not. */
export interface Mapper {
  /** Maps the first `blockBytes` of a file; undefined where that isn't to be had. Never throws. */
  map(file: DiskFile, blockBytes: number): Mapping | undefined;
}

/** Maps nothing: every read is a plain one. */
export const noMapping: Mapper = { map: () => undefined };

export interface MapperOptions {
  readonly blockBytes: number;
  /** The largest number of mappings at a time. */
  readonly maxMappings: number;
}

/** A mapper of this system's, by mmap(2); `noMapping` where koffi or Linux is missing. */
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

/** Koffi throws where too many calls wait for its threads (256), and the page table's lock lets few of them gain anything. */
const MAX_POPULATING = 4;

/** Slots of a slab, where they fit: with 16 MiB blocks, 1 GiB of addresses. */
const SLAB_SLOTS = 64;
/** Addresses of a slab, but for one slot that is larger: V8 ends the process over an ArrayBuffer of 8 GiB. */
const SLAB_BYTES = 1 << 30;
/** Slots begin at multiples of it where they are as large: only so can huge pages of the page cache be mapped as such. */
const HUGE_PAGE_BYTES = 2 << 20;
/** Slots beyond `maxMappings`, for mappings that are being closed. */
const SPARE_SLOTS = 64;

interface Slot {
  readonly address: Address;
  readonly bytes: Buffer;
}

/**
 * Maps into slots of address space that are reserved once, each with the one ArrayBuffer that it will ever have. An
 * ArrayBuffer for every mapping would do too, but V8 counts each as that much new garbage to come, and collects the whole
 * heap every few mappings.
 */
export class SystemMapper implements Mapper {
  readonly #libc: Libc;
  readonly #residency: Residency;
  readonly #options: MapperOptions;

  readonly #slotBytes: number;
  readonly #copies: PageCopies | undefined;
  readonly #free: Slot[] = [];
  #slots = 0;
  #populating = 0;

  constructor(libc: Libc, residency: Residency, options: MapperOptions) {
    this.#libc = libc;
    this.#residency = residency;
    this.#options = options;
    this.#copies = PageCopies.open(libc);
    const alignment = options.blockBytes < HUGE_PAGE_BYTES ? libc.getpagesize() : HUGE_PAGE_BYTES;
    this.#slotBytes = Math.ceil(options.blockBytes / alignment) * alignment;
  }

  map(file: DiskFile, blockBytes: number): Mapping | undefined {
    const { fd } = file;
    if (fd === undefined || blockBytes > this.#slotBytes) return undefined;
    if (this.#free.length === 0) this.#addSlab();
    const slot = this.#free.pop();
    if (slot === undefined) return undefined;
    if (this.#libc.mmap(slot.address, blockBytes, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) !== slot.address) {
      this.#clear(slot);
      return undefined;
    }
    // No read-ahead: pages that the kernel fetches on its own account would look resident before they are.
    this.#libc.posixFadvise(fd, 0, 0, POSIX_FADV_RANDOM);
    return this.#mapping(slot, fd);
  }

  #mapping(slot: Slot, fd: number): Mapping {
    const residency = this.#residency;
    return {
      bytes: slot.bytes,
      isResident: (start, end) => residency.isResident(fd, slot.address, start, end),
      copy: (start, end) => this.#copies?.take(fd, start, end),
      reaches: (end) => reachesTo(this.#libc, fd, end),
      populate: (start, end) => this.#populate(slot, start, end),
      letGo: () => void this.#libc.madvise(slot.address, this.#slotBytes, MADV_DONTNEED),
      unmap: () => this.#clear(slot),
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

  /** Back to addresses without memory. Where even that fails the slot is not used again. */
  #clear(slot: Slot): void {
    const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
    const address = this.#libc.mmap(slot.address, this.#slotBytes, PROT_NONE, flags, -1, 0);
    if (address === slot.address) this.#free.push(slot);
  }

  #addSlab(): void {
    const fitting = Math.max(1, Math.floor(SLAB_BYTES / this.#slotBytes));
    const slots = Math.min(SLAB_SLOTS, fitting, this.#options.maxMappings + SPARE_SLOTS - this.#slots);
    if (slots <= 0) return;
    const lengthBytes = slots * this.#slotBytes;
    const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    const reserved = this.#libc.mmap(0n, lengthBytes + HUGE_PAGE_BYTES, PROT_NONE, flags, -1, 0);
    if (reserved === MAP_FAILED) return;
    const address = ((reserved + BigInt(HUGE_PAGE_BYTES - 1)) / BigInt(HUGE_PAGE_BYTES)) * BigInt(HUGE_PAGE_BYTES);
    const slab = this.#libc.view(address, lengthBytes);
    this.#slots += slots;
    for (let slot = 0; slot < slots; slot++) {
      const at = slot * this.#slotBytes;
      this.#free.push({ address: address + BigInt(at), bytes: Buffer.from(slab, at, this.#slotBytes) });
    }
  }
}
