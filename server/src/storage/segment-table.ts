import { type Geometry, segmentCount } from "@frontcache/proto";

const ABSENT = 0;
/** Held by the footer's word, not read since the start. */
const UNCHECKED = 1;
const CHECKED = 2;

/** Which segments of a block are held, with their CRCs, and which of them are known to be true. */
export class SegmentTable {
  readonly #states: Uint8Array;
  readonly #crcs: Uint32Array;

  /** All absent, for a block of `blockBytes` bytes (the object's last one may be short). */
  constructor(
    readonly blockBytes: number,
    readonly geometry: Geometry,
  ) {
    const count = segmentCount(blockBytes, geometry);
    this.#states = new Uint8Array(count);
    this.#crcs = new Uint32Array(count);
  }

  get count(): number {
    return this.#states.length;
  }

  holds(segment: number): boolean {
    return segment < this.#states.length && this.#states[segment] !== ABSENT;
  }

  isChecked(segment: number): boolean {
    return this.#states[segment] === CHECKED;
  }

  crc(segment: number): number {
    return this.#crcs[segment]!;
  }

  /** One CRC a segment, undefined where absent: the footer's form. */
  crcs(): (number | undefined)[] {
    return Array.from(this.#states, (state, segment) => (state === ABSENT ? undefined : this.#crcs[segment]));
  }

  add(segment: number, crc: number, checked: boolean): void {
    this.#states[segment] = checked ? CHECKED : UNCHECKED;
    this.#crcs[segment] = crc;
  }

  check(segment: number): void {
    if (this.holds(segment)) this.#states[segment] = CHECKED;
  }

  drop(segment: number): void {
    this.#states[segment] = ABSENT;
  }

  get heldBytes(): number {
    let bytes = 0;
    this.#states.forEach((state, segment) => {
      if (state !== ABSENT) bytes += this.lengthOf(segment);
    });
    return bytes;
  }

  isEmpty(): boolean {
    return this.#states.every((state) => state === ABSENT);
  }

  /** Bytes of a segment: the block's last one may be short. */
  lengthOf(segment: number): number {
    const { segmentBytes } = this.geometry;
    return Math.min(segmentBytes, this.blockBytes - segment * segmentBytes);
  }

  /** One past the last byte held without a gap from `start`; `start` itself where that byte is not held. */
  heldEnd(start: number): number {
    return this.#runEnd(start, UNCHECKED);
  }

  /** As `heldEnd`, of segments that are known to be true. */
  checkedEnd(start: number): number {
    return this.#runEnd(start, CHECKED);
  }

  #runEnd(start: number, least: number): number {
    const { segmentBytes } = this.geometry;
    let segment = Math.floor(start / segmentBytes);
    while (segment < this.#states.length && this.#states[segment]! >= least) segment++;
    return Math.max(start, Math.min(segment * segmentBytes, this.blockBytes));
  }
}
