/** Answers that "recent" means. Small enough to follow an origin that changes, large enough for a steady 95th percentile. */
const WINDOW = 256;

/** With fewer answers nothing is known yet: the slowest of 20 is their 95th percentile. */
const LEAST = 20;

/** Sorting the window takes 20 us, so it is done once for so many answers. */
const STEP = 16;

/** How long an origin's recent answers took to begin. */
export class FirstByteTimes {
  readonly #window = new Float64Array(WINDOW);
  #recorded = 0;
  #p95Ms: number | undefined;

  record(ms: number): void {
    this.#window[this.#recorded++ % WINDOW] = ms;
    if (this.#recorded >= LEAST && (this.#p95Ms === undefined || this.#recorded % STEP === 0)) this.#p95Ms = this.#percentile();
  }

  /** All but 5 % of the recent answers began within so many milliseconds; undefined where too few are known. */
  get p95Ms(): number | undefined {
    return this.#p95Ms;
  }

  #percentile(): number {
    const sorted = this.#window.slice(0, Math.min(this.#recorded, WINDOW)).sort();
    return sorted[Math.ceil(sorted.length * 0.95) - 1]!;
  }
}
