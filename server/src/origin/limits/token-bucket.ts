/** An allowance that grows evenly up to a burst. Taking may leave a debt, which later growth pays first. */
export class TokenBucket {
  readonly #perMs: number;
  readonly #burst: number;
  #level: number;
  #atMs: number;

  /** Full at the beginning: `burst` tokens, then `perSecond` more each second. */
  constructor(perSecond: number, burst: number, nowMs: number) {
    this.#perMs = perSecond / 1000;
    this.#burst = burst;
    this.#level = burst;
    this.#atMs = nowMs;
  }

  /** Milliseconds until `tokens` are there; 0 where they are. More than the burst counts as the burst. */
  msUntil(tokens: number, nowMs: number): number {
    this.#grow(nowMs);
    const missing = Math.min(tokens, this.#burst) - this.#level;
    // Less than a billionth of a token is what adding fractions of milliseconds loses.
    return missing <= 1e-9 ? 0 : missing / this.#perMs;
  }

  /** Takes tokens, or gives back with a negative number. */
  take(tokens: number): void {
    this.#level = Math.min(this.#burst, this.#level - tokens);
  }

  #grow(nowMs: number): void {
    this.#level = Math.min(this.#burst, this.#level + (nowMs - this.#atMs) * this.#perMs);
    this.#atMs = nowMs;
  }
}
