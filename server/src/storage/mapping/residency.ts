import type { Address, Libc } from "./libc.js";

/** Determines whether bytes of a mapped file are in memory, without touching them. */
export interface Residency {
  isResident(fd: number, address: Address, start: number, end: number): boolean;
}

/** The system call's number, the same on every architecture. */
const CACHESTAT = 451;
const EBADF = 9;
const SEEK_END = 2;

/** Uses cachestat(2) if the kernel has it (6.5) and permits it (containers may not), otherwise mincore(2). */
export function systemResidency(libc: Libc): Residency {
  return hasCachestat(libc) ? new CachestatResidency(libc) : new MincoreResidency(libc);
}

/** For an invalid descriptor, a kernel that has the call returns EBADF. */
function hasCachestat(libc: Libc): boolean {
  libc.cachestat(CACHESTAT, -1, new BigUint64Array(2), new BigUint64Array(5), 0);
  return libc.errno() === EBADF;
}

/** Counts the range's pages in the page cache: about 1 us for any length. */
export class CachestatResidency implements Residency {
  readonly #libc: Libc;

  readonly #range = new BigUint64Array(2);
  readonly #stat = new BigUint64Array(5);
  readonly #pageBytes: number;

  constructor(libc: Libc) {
    this.#libc = libc;
    this.#pageBytes = libc.getpagesize();
  }

  isResident(fd: number, _address: Address, start: number, end: number): boolean {
    if (!reachesTo(this.#libc, fd, end)) return false;
    this.#range[0] = BigInt(start);
    this.#range[1] = BigInt(end - start);
    if (Number(this.#libc.cachestat(CACHESTAT, fd, this.#range, this.#stat, 0)) !== 0) return false;
    const pages = Math.floor((end - 1) / this.#pageBytes) - Math.floor(start / this.#pageBytes) + 1;
    return Number(this.#stat[0]) === pages;
  }
}

/** Checks each page of the range: up to 20 us for 1 MiB, less when the page table is filled. */
export class MincoreResidency implements Residency {
  readonly #libc: Libc;

  readonly #pageBytes: number;
  #pages = new Uint8Array(256);

  constructor(libc: Libc) {
    this.#libc = libc;
    this.#pageBytes = libc.getpagesize();
  }

  isResident(fd: number, address: Address, start: number, end: number): boolean {
    if (!reachesTo(this.#libc, fd, end)) return false;
    const first = Math.floor(start / this.#pageBytes);
    const count = Math.floor((end - 1) / this.#pageBytes) - first + 1;
    if (count > this.#pages.length) this.#pages = new Uint8Array(count);
    const from = address + BigInt(first * this.#pageBytes);
    if (this.#libc.mincore(from, end - first * this.#pageBytes, this.#pages) !== 0) return false;
    for (let page = 0; page < count; page++) {
      if ((this.#pages[page]! & 1) === 0) return false;
    }
    return true;
  }
}

/** The last page of a truncated file stays in memory, with zeros after the end, so the length must be checked, too. */
export function reachesTo(libc: Libc, fd: number, end: number): boolean {
  return Number(libc.lseek(fd, 0, SEEK_END)) >= end;
}
