import { type Geometry, segmentCount, segmentLength, segmentOf } from "@frontcache/proto";

/** Bits of a number that V8 stores as a small integer. */
const WORD_BITS = 30;

/**
 * The cached segments of a block with their CRCs, and which of them are verified: those that this process has written or read
 * completely. Plain arrays of small integers: with 65,536 blocks, typed arrays would take twice as much memory.
 */
export class SegmentTable {
  readonly blockBytes: number;
  readonly geometry: Geometry;

  readonly count: number;

  /** CRC-32 of each segment as a signed number, undefined if it is missing; then one bit per verified segment, 30 per number. */
  readonly #table: (number | undefined)[];

  /** Creates an empty table for a block of `blockBytes` bytes (the object's last one may be short). */
  constructor(blockBytes: number, geometry: Geometry) {
    this.blockBytes = blockBytes;
    this.geometry = geometry;
    this.count = segmentCount(blockBytes, geometry);
    this.#table = new Array<number | undefined>(this.count + Math.ceil(this.count / WORD_BITS)).fill(undefined);
  }

  has(segment: number): boolean {
    return segment < this.count && this.#table[segment] !== undefined;
  }

  isChecked(segment: number): boolean {
    return segment < this.count && ((this.#table[this.#wordOf(segment)] ?? 0) & bitOf(segment)) !== 0;
  }

  /** Returns a cached segment's CRC-32 as an unsigned number. */
  crc(segment: number): number {
    return this.#table[segment]! >>> 0;
  }

  /** Returns one CRC per segment, undefined for missing ones: the form of the footer. */
  crcs(): (number | undefined)[] {
    return this.#table.slice(0, this.count).map((crc) => (crc === undefined ? undefined : crc >>> 0));
  }

  add(segment: number, crc: number, isChecked: boolean): void {
    this.#table[segment] = crc | 0;
    if (isChecked) this.check(segment);
  }

  check(segment: number): void {
    if (!this.has(segment)) return;
    const word = this.#wordOf(segment);
    this.#table[word] = (this.#table[word] ?? 0) | bitOf(segment);
  }

  /** Number of drops. */
  drops = 0;
  /** Of each segment that was dropped, the number of its last drop. Most tables have none. */
  #lastDrops: Map<number, number> | undefined;

  /**
   * Returns the number of the last drop that concerns a range; 0: there was none. A read that ran during such a drop cannot know whether
   * its bytes are the old or the new ones.
   */
  lastDrop(start: number, end: number): number {
    let last = 0;
    if (this.#lastDrops === undefined) return last;
    for (let segment = segmentOf(start, this.geometry); segment * this.geometry.segmentBytes < end; segment++) {
      last = Math.max(last, this.#lastDrops.get(segment) ?? 0);
    }
    return last;
  }

  drop(segment: number): void {
    this.drops++;
    this.#lastDrops ??= new Map();
    this.#lastDrops.set(segment, this.drops);
    this.#table[segment] = undefined;
    const word = this.#wordOf(segment);
    this.#table[word] = (this.#table[word] ?? 0) & ~bitOf(segment);
  }

  /** Bytes of the cached segments. */
  get cachedBytes(): number {
    let bytes = 0;
    for (let segment = 0; segment < this.count; segment++) {
      if (this.has(segment)) bytes += this.lengthOf(segment);
    }
    return bytes;
  }

  isEmpty(): boolean {
    for (let segment = 0; segment < this.count; segment++) if (this.has(segment)) return false;
    return true;
  }

  /** Returns the length of a segment; the block's last one may be short. */
  lengthOf(segment: number): number {
    return segmentLength(segment, this.blockBytes, this.geometry);
  }

  /** Returns the end of the contiguously cached bytes from `start`; `start` itself if that byte is not cached. */
  cachedEnd(start: number): number {
    let segment = segmentOf(start, this.geometry);
    while (this.has(segment)) segment++;
    return this.#end(start, segment);
  }

  /** As `cachedEnd`, of segments that are verified. */
  checkedEnd(start: number): number {
    let segment = segmentOf(start, this.geometry);
    while (this.isChecked(segment)) segment++;
    return this.#end(start, segment);
  }

  /** The index of the number that has the segment's bit. */
  #wordOf(segment: number): number {
    return this.count + Math.floor(segment / WORD_BITS);
  }

  #end(start: number, segment: number): number {
    return Math.max(start, Math.min(segment * this.geometry.segmentBytes, this.blockBytes));
  }
}

function bitOf(segment: number): number {
  return 1 << (segment % WORD_BITS);
}
