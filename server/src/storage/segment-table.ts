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

  /** CRC-32 as a signed number; undefined if the segment is missing. */
  readonly #crcs: (number | undefined)[];
  /**
   * One bit per segment, 30 per number. Created with the first bit, because most blocks have none for a long time after a start.
   */
  #checked: number[] | undefined;

  /** Creates an empty table for a block of `blockBytes` bytes (the object's last one may be short). */
  constructor(blockBytes: number, geometry: Geometry) {
    this.blockBytes = blockBytes;
    this.geometry = geometry;
    const count = segmentCount(blockBytes, geometry);
    this.#crcs = new Array<number | undefined>(count).fill(undefined);
  }

  get count(): number {
    return this.#crcs.length;
  }

  has(segment: number): boolean {
    return this.#crcs[segment] !== undefined;
  }

  isChecked(segment: number): boolean {
    const word = this.#checked?.[Math.floor(segment / WORD_BITS)] ?? 0;
    return (word & (1 << (segment % WORD_BITS))) !== 0;
  }

  /** Returns a cached segment's CRC-32 as an unsigned number. */
  crc(segment: number): number {
    return this.#crcs[segment]! >>> 0;
  }

  /** Returns one CRC per segment, undefined for missing ones: the form of the footer. */
  crcs(): (number | undefined)[] {
    return this.#crcs.map((crc) => (crc === undefined ? undefined : crc >>> 0));
  }

  add(segment: number, crc: number, isChecked: boolean): void {
    this.#crcs[segment] = crc | 0;
    if (isChecked) this.check(segment);
  }

  check(segment: number): void {
    if (!this.has(segment)) return;
    this.#checked ??= new Array<number>(Math.ceil(this.count / WORD_BITS)).fill(0);
    this.#checked[Math.floor(segment / WORD_BITS)]! |= 1 << (segment % WORD_BITS);
  }

  /** Number of drops. A read that ran during a drop cannot know whether its bytes are the old or the new ones. */
  drops = 0;

  drop(segment: number): void {
    this.drops++;
    this.#crcs[segment] = undefined;
    if (this.#checked !== undefined) this.#checked[Math.floor(segment / WORD_BITS)]! &= ~(1 << (segment % WORD_BITS));
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
    return this.#crcs.every((crc) => crc === undefined);
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

  /** As `heldEnd`, of segments that are verified. */
  checkedEnd(start: number): number {
    let segment = segmentOf(start, this.geometry);
    while (this.isChecked(segment)) segment++;
    return this.#end(start, segment);
  }

  #end(start: number, segment: number): number {
    return Math.max(start, Math.min(segment * this.geometry.segmentBytes, this.blockBytes));
  }
}
