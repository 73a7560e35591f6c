/** The capacity of a file system in bytes or inodes. */
export interface Amount {
  /** Infinity: the file system has no such limit. */
  readonly total: number;
  readonly free: number;
  /** The amount that must stay free. */
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

  /** Current usage of the volume. */
  get used(): number {
    return this.#used;
  }

  get isKnown(): boolean {
    return this.#amount !== undefined;
  }

  /** The amount that the volume and others may use together; 0 while unknown. */
  get total(): number {
    return this.#amount === undefined ? 0 : this.#amount.total - this.#amount.kept;
  }

  /** The free amount, including the part that must stay free; 0 while unknown. */
  get freeInAll(): number {
    return this.#amount === undefined ? 0 : this.#amount.free - (this.#used - this.#usedAtObservation);
  }

  /** The amount that the volume may still take. */
  get free(): number {
    return this.freeInAll - (this.#amount?.kept ?? 0);
  }

  /** Records that the volume has taken more, or released some. */
  add(amount: number): void {
    this.#used += amount;
  }

  /** Records that others have taken more. */
  lose(amount: number): void {
    if (this.#amount !== undefined) this.#amount = { ...this.#amount, free: this.#amount.free - amount };
  }

  observe(amount: Amount): void {
    this.#amount = amount;
    this.#usedAtObservation = this.#used;
  }

  /** Returns the maximum usage of the volume if `share` (0 to 1) of the total is used; Infinity while unknown or unlimited. */
  mostAt(share: number): number {
    if (this.#amount === undefined || this.#amount.total === Number.POSITIVE_INFINITY) return Number.POSITIVE_INFINITY;
    const others = this.#amount.total - this.freeInAll - this.#used;
    return share * this.total - others;
  }
}
