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
  readonly #states: Uint8Array;
  #touchedBytes = 0;

  constructor(private readonly mappedBytes: number) {
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
      const regionEnd = Math.min(regionStart + REGION_BYTES, this.mappedBytes);
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
