/** The number for one combination of label values. Counting code keeps it and adds in place. */
export class NumberSeries {
  readonly labels: Readonly<Record<string, string>>;

  value = 0;

  constructor(labels: Readonly<Record<string, string>>) {
    this.labels = labels;
  }

  add(amount: number): void {
    this.value += amount;
  }
}

/** The distribution of one combination of label values: counts in explicit buckets, as in OpenTelemetry and Prometheus. */
export class HistogramSeries {
  readonly labels: Readonly<Record<string, string>>;

  /** One count per boundary, and a last one for larger values. */
  readonly counts: Float64Array;
  count = 0;
  sum = 0;
  readonly #boundaries: Float64Array;

  constructor(labels: Readonly<Record<string, string>>, boundaries: readonly number[]) {
    this.labels = labels;
    this.#boundaries = Float64Array.from(boundaries);
    this.counts = new Float64Array(boundaries.length + 1);
  }

  /** Most values are small, so the search is short. Allocates nothing. */
  record(value: number): void {
    const boundaries = this.#boundaries;
    let bucket = 0;
    while (bucket < boundaries.length && value > boundaries[bucket]!) bucket++;
    this.counts[bucket]!++;
    this.count++;
    this.sum += value;
  }

  /**
   * Estimates a quantile (`share` from 0 to 1), assuming an even distribution inside each bucket. Returns undefined if nothing
   * was recorded, the highest boundary if the quantile is above it.
   */
  quantile(share: number): number | undefined {
    if (this.count === 0) return undefined;
    const rank = share * this.count;
    let below = 0;
    for (const [bucket, upper] of this.#boundaries.entries()) {
      const count = this.counts[bucket]!;
      if (count > 0 && below + count >= rank) {
        const lower = bucket === 0 ? 0 : this.#boundaries[bucket - 1]!;
        return lower + ((upper - lower) * (rank - below)) / count;
      }
      below += count;
    }
    return this.#boundaries.at(-1);
  }
}
