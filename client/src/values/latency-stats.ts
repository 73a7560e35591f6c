/** Counts and latencies of the calls of one client. */
export interface ValueClientStats {
  readonly gets: number;
  readonly puts: number;
  readonly hits: number;
  readonly misses: number;
  readonly failures: number;
  /** Milliseconds, of the last thousand calls. 0 without calls. */
  readonly averageMs: number;
  readonly p99Ms: number;
}

const REMEMBERED = 1_000;

/** Remembers the latencies of the last calls. */
export class LatencyStats {
  readonly #lastMs = new Float64Array(REMEMBERED);
  #calls = 0;
  #gets = 0;
  #puts = 0;
  #hits = 0;
  #misses = 0;
  #failures = 0;

  record(kind: "get" | "put", ms: number, outcome: "hit" | "miss" | "failure"): void {
    this.#lastMs[this.#calls++ % REMEMBERED] = ms;
    if (kind === "get") this.#gets++;
    else this.#puts++;
    if (outcome === "failure") this.#failures++;
    else if (outcome === "miss") this.#misses++;
    else if (kind === "get") this.#hits++;
  }

  report(): ValueClientStats {
    const last = this.#lastMs.slice(0, Math.min(this.#calls, REMEMBERED)).sort();
    const [gets, puts, hits, misses, failures] = [this.#gets, this.#puts, this.#hits, this.#misses, this.#failures];
    const counts = { gets, puts, hits, misses, failures };
    if (last.length === 0) return { ...counts, averageMs: 0, p99Ms: 0 };
    const averageMs = last.reduce((sum, ms) => sum + ms, 0) / last.length;
    return { ...counts, averageMs, p99Ms: last[Math.ceil(last.length * 0.99) - 1]! };
  }
}
