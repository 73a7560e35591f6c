interface Readers {
  /** Who entered for the segment and has not left. */
  entered: number;
  /** Those of them who are at it now. */
  arrived: number;
}

/** Which readers of a fill still come for which segment. Every reader enters, perhaps arrives, and leaves. */
export class SegmentInterest {
  readonly #readers = new Map<number, Readers>();

  /** Whether anybody still comes for the segment, or is at it. */
  has(segment: number): boolean {
    return this.#readers.has(segment);
  }

  /** Whether anybody is at the segment now. */
  isAt(segment: number): boolean {
    return (this.#readers.get(segment)?.arrived ?? 0) > 0;
  }

  enter(segment: number): void {
    const readers = this.#readers.get(segment);
    if (readers === undefined) this.#readers.set(segment, { entered: 1, arrived: 0 });
    else readers.entered++;
  }

  arrive(segment: number): void {
    this.#readers.get(segment)!.arrived++;
  }

  /** Returns whether nobody is left. */
  leave(segment: number, arrived: boolean): boolean {
    const readers = this.#readers.get(segment)!;
    if (arrived) readers.arrived--;
    if (--readers.entered > 0) return false;
    this.#readers.delete(segment);
    return true;
  }
}
