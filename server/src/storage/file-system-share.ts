/** How much of one thing, bytes or inodes, a file system has. */
export interface Amount {
  /** Infinity: the file system has no such bound. */
  readonly total: number;
  readonly free: number;
  /** What must stay free, whoever uses the rest. */
  readonly kept: number;
}

/**
 * The share of a file system's bytes or inodes that a volume may use: everything that others do not use and that does not have to
 * stay free. Between two observations, what the volume has taken since is subtracted.
 */
export class FileSystemShare {
  #amount: Amount | undefined;
  #usedAtObservation = 0;
  #used = 0;

  /** What the volume uses now. */
  get used(): number {
    return this.#used;
  }

  get isKnown(): boolean {
    return this.#amount !== undefined;
  }

  /** What the volume and others may use together; 0 while it is unknown. */
  get total(): number {
    return this.#amount === undefined ? 0 : this.#amount.total - this.#amount.kept;
  }

  /** What the file system would still give, including what has to stay free; 0 while it is unknown. */
  get freeInAll(): number {
    return this.#amount === undefined ? 0 : this.#amount.free - (this.#used - this.#usedAtObservation);
  }

  /** What may still be taken. */
  get free(): number {
    return this.freeInAll - (this.#amount?.kept ?? 0);
  }

  /** The volume has taken more, or given some back. */
  add(amount: number): void {
    this.#used += amount;
  }

  /** Others have taken more. */
  lose(amount: number): void {
    if (this.#amount !== undefined) this.#amount = { ...this.#amount, free: this.#amount.free - amount };
  }

  observe(amount: Amount): void {
    this.#amount = amount;
    this.#usedAtObservation = this.#used;
  }

  /** The most that the volume may use if `share` (0 to 1) of the total is used; Infinity while it is unknown or unbounded. */
  mostAt(share: number): number {
    if (this.#amount === undefined || this.#amount.total === Number.POSITIVE_INFINITY) return Number.POSITIVE_INFINITY;
    const others = this.#amount.total - this.freeInAll - this.#used;
    return share * this.total - others;
  }
}
