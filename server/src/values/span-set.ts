import type { ByteSpan, Completion } from "./values.js";

/** Disjoint ranges of bytes, sorted. Adjacent ranges are joined. */
export class SpanSet {
  readonly #spans: { start: number; end: number }[] = [];
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  /** Number of ranges. */
  get count(): number {
    return this.#spans.length;
  }

  add(start: number, end: number): void {
    if (end <= start) return;
    const from = this.#firstEndingAt(start);
    let to = from;
    let [first, last] = [start, end];
    for (; to < this.#spans.length && this.#spans[to]!.start <= end; to++) {
      first = Math.min(first, this.#spans[to]!.start);
      last = Math.max(last, this.#spans[to]!.end);
      this.#bytes -= this.#spans[to]!.end - this.#spans[to]!.start;
    }
    this.#spans.splice(from, to - from, { start: first, end: last });
    this.#bytes += last - first;
  }

  remove(start: number, end: number): void {
    if (end <= start) return;
    for (let at = this.#firstEndingAt(start); at < this.#spans.length && this.#spans[at]!.start < end; ) {
      const span = this.#spans[at]!;
      const left = [
        { start: span.start, end: Math.min(span.end, start) },
        { start: Math.max(span.start, end), end: span.end },
      ].filter((each) => each.start < each.end);
      this.#spans.splice(at, 1, ...left);
      this.#bytes -= Math.min(span.end, end) - Math.max(span.start, start);
      at += left.length;
    }
  }

  has(start: number, end: number): boolean {
    const span = this.#spans[this.#firstEndingAt(start)];
    return end <= start || (span !== undefined && span.start <= start && span.end >= end);
  }

  present(): ByteSpan[] {
    return this.#spans.map(({ start, end }) => ({ start, end }));
  }

  /** The ranges that are missing before `size`. */
  missing(size: number): ByteSpan[] {
    const missing: ByteSpan[] = [];
    let at = 0;
    for (const { start, end } of this.#spans) {
      if (start > at) missing.push({ start: at, end: Math.min(start, size) });
      at = end;
    }
    if (at < size) missing.push({ start: at, end: size });
    return missing;
  }

  completion(size: number): Completion {
    return { size, presentBytes: this.#bytes, present: this.present(), missing: this.missing(size) };
  }

  /** Index of the first range that ends at or behind a position. */
  #firstEndingAt(position: number): number {
    let [low, high] = [0, this.#spans.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#spans[middle]!.end < position) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
