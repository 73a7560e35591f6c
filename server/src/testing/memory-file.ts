import { systemError } from "../storage/disk/disk.js";

export const PAGE_BYTES = 4096;

/** A sparse file's content in pages, as in file systems. */
export class MemoryFile {
  readonly createdMs: number;
  readonly #account: (pages: number) => void;

  readonly #pages = new Map<number, Uint8Array>();
  sizeBytes = 0;
  modifiedMs: number;
  /** Number of names and descriptors. The pages are freed with the last one. */
  #users = 0;

  /** `account` is called for each allocated page (1) and for freed pages (-1 or less). */
  constructor(createdMs: number, account: (pages: number) => void) {
    this.createdMs = createdMs;
    this.#account = account;
    this.modifiedMs = createdMs;
  }

  hold(): void {
    this.#users++;
  }

  drop(): void {
    this.#users--;
    if (this.#users === 0) this.#account(-this.#pages.size);
  }

  get allocatedBytes(): number {
    return this.#pages.size * PAGE_BYTES;
  }

  copy(account: (pages: number) => void): MemoryFile {
    const copy = new MemoryFile(this.createdMs, account);
    copy.modifiedMs = this.modifiedMs;
    copy.sizeBytes = this.sizeBytes;
    for (const [page, bytes] of this.#pages) copy.#pages.set(page, bytes.slice());
    account(copy.#pages.size);
    return copy;
  }

  /** Fills the target from `position`; returns the bytes read, fewer only at the end. */
  read(target: Uint8Array, position: number): number {
    const length = Math.max(0, Math.min(target.length, this.sizeBytes - position));
    eachPage(position, length, (page, from, at, count) => {
      const bytes = this.#pages.get(page);
      if (bytes === undefined) target.fill(0, at, at + count);
      else target.set(bytes.subarray(from, from + count), at);
    });
    return length;
  }

  /** Writes page by page; throws ENOSPC if a new page exceeds `freeBytes`. The pages before it stay written. */
  write(source: Uint8Array, position: number, freeBytes: number, nowMs: number): void {
    let leftBytes = freeBytes;
    this.modifiedMs = nowMs;
    eachPage(position, source.length, (page, from, at, count) => {
      let bytes = this.#pages.get(page);
      if (bytes === undefined) {
        if (leftBytes < PAGE_BYTES) throw systemError("ENOSPC", "the disk is full");
        leftBytes -= PAGE_BYTES;
        bytes = new Uint8Array(PAGE_BYTES);
        this.#pages.set(page, bytes);
        this.#account(1);
      }
      bytes.set(source.subarray(at, at + count), from);
      this.sizeBytes = Math.max(this.sizeBytes, position + at + count);
    });
  }

  /** Punches a hole: frees whole pages, and zeroes the rest. */
  deallocate(position: number, lengthBytes: number): void {
    eachPage(position, lengthBytes, (page, from, _at, count) => {
      if (count === PAGE_BYTES) {
        if (this.#pages.delete(page)) this.#account(-1);
      } else this.#pages.get(page)?.fill(0, from, from + count);
    });
  }

  truncate(sizeBytes: number): void {
    if (sizeBytes < this.sizeBytes) this.deallocate(sizeBytes, Math.ceil(this.sizeBytes / PAGE_BYTES) * PAGE_BYTES - sizeBytes);
    this.sizeBytes = sizeBytes;
  }

  /** Flips one bit, like a failing disk. */
  flipBit(position: number, bit: number): void {
    const byte = new Uint8Array(1);
    this.read(byte, position);
    byte[0]! ^= 1 << bit;
    this.write(byte, position, Infinity, this.modifiedMs);
  }
}

/** Calls back for each page of a range with the page number, the offset in the page, the offset in the range, and the bytes. */
function eachPage(
  position: number,
  length: number,
  visit: (page: number, from: number, at: number, count: number) => void,
): void {
  for (let at = 0; at < length; ) {
    const from = (position + at) % PAGE_BYTES;
    const count = Math.min(PAGE_BYTES - from, length - at);
    visit(Math.floor((position + at) / PAGE_BYTES), from, at, count);
    at += count;
  }
}
