import type { ByteSpan } from "./values.js";

/** A range of bytes, and the stamp of the write that they are of. Larger stamps are of later writes. */
export interface StampedSpan extends ByteSpan {
  readonly stamp: string;
}

/** Disjoint ranges of bytes, sorted, each with its newest stamp. */
export class StampedSpans {
  #spans: readonly StampedSpan[] = [];

  get all(): readonly StampedSpan[] {
    return this.#spans;
  }

  get bytes(): number {
    return this.#spans.reduce((sum, { start, end }) => sum + end - start, 0);
  }

  /** Parts of a range that have no stamp yet, or an older one. */
  olderThan({ start, end, stamp }: StampedSpan): StampedSpan[] {
    const older: StampedSpan[] = [];
    let at = start;
    for (const span of this.#spans) {
      if (span.end <= at || span.stamp < stamp) continue;
      if (span.start >= end) break;
      if (span.start > at) older.push({ start: at, end: span.start, stamp });
      at = span.end;
    }
    if (at < end) older.push({ start: at, end, stamp });
    return older;
  }

  /** Takes a range. Newer bytes in it stay what they are. */
  add(added: StampedSpan): void {
    for (const part of this.olderThan(added)) {
      const kept = this.#spans.flatMap((span) => [
        { ...span, end: Math.min(span.end, part.start) },
        { ...span, start: Math.max(span.start, part.end) },
      ]);
      const spans = [...kept.filter(({ start, end }) => start < end), part];
      this.#spans = spans.sort((one, other) => one.start - other.start);
    }
  }
}
