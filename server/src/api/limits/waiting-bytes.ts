/** One answer's bytes in memory that its reader has not taken yet. */
interface Waiting {
  readonly bytes: number;
  readonly cut: () => void;
}

/**
 * The memory in which bytes wait for slow readers. When it is full, the reader that has kept its bytes waiting longest is cut
 * off: who reads at all is passed by no one.
 */
export class WaitingBytes {
  /** In the order in which they came: those who read leave, the slow ones are left in front. */
  readonly #waiting = new Set<Waiting>();
  #bytes = 0;
  /** Readers that were cut off since the start. */
  cutReaders = 0;

  constructor(private readonly maxBytes: number) {}

  /** Bytes that wait now. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Bytes begin to wait. The returned function says that they are gone; `cut` must lead to that, too. */
  hold(bytes: number, cut: () => void): () => void {
    const waiting = { bytes, cut };
    this.#waiting.add(waiting);
    this.#bytes += bytes;
    for (const slowest of this.#waiting) {
      if (this.#bytes <= this.maxBytes || slowest === waiting) break;
      this.#leave(slowest);
      this.cutReaders++;
      slowest.cut();
    }
    return () => this.#leave(waiting);
  }

  #leave(waiting: Waiting): void {
    if (this.#waiting.delete(waiting)) this.#bytes -= waiting.bytes;
  }
}
