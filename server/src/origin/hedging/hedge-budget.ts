/** Extra requests that a quiet time may save up. */
const MOST_SAVED = 10;

/** How many extra requests an origin may get: a share of the ordinary ones, counted from the first of them on. */
export class HedgeBudget {
  readonly #share: number;
  #left = 0;

  /** `share` of the ordinary requests: 0.05 allows one extra request for every twenty. */
  constructor(share: number) {
    this.#share = share;
  }

  /** An ordinary request was sent. */
  earn(): void {
    this.#left = Math.min(MOST_SAVED, this.#left + this.#share);
  }

  /** Takes leave for one extra request, where there is some. */
  spend(): boolean {
    // Twenty times 0.05 is a hair less than 1.
    if (this.#left < 1 - 1e-9) return false;
    this.#left -= 1;
    return true;
  }

  /** The origin throttles: more requests are the last thing it needs. */
  forfeit(): void {
    this.#left = 0;
  }
}
