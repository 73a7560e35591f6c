/** Bytes that may wait for the consumer. Then the source is paused. */
const MAX_WAITING_BYTES = 2 << 20;

/** Where pieces come from. */
interface PieceSource {
  pause(): void;
  resume(): void;
}

/** Pieces of bytes, or messages with some, between a source that pushes them and one consumer that takes them, with backpressure. */
export class PieceQueue<Piece> {
  readonly #source: PieceSource;
  readonly #bytesOf: (piece: Piece) => number;
  readonly #waiting: Piece[] = [];
  #waitingBytes = 0;
  #end: { readonly error: unknown } | undefined;
  #wake = (): void => {};

  constructor(source: PieceSource, bytesOf: (piece: Piece) => number) {
    this.#source = source;
    this.#bytesOf = bytesOf;
  }

  push(piece: Piece): void {
    this.#waiting.push(piece);
    this.#waitingBytes += this.#bytesOf(piece);
    if (this.#waitingBytes >= MAX_WAITING_BYTES) this.#source.pause();
    this.#wake();
  }

  /** Ends the pieces: without an error, or with one that the consumer gets after the last piece. */
  end(error?: unknown): void {
    this.#end ??= { error };
    this.#wake();
  }

  get isOver(): boolean {
    return this.#end !== undefined;
  }

  /** The pieces in order. One consumer at a time. */
  async *pieces(): AsyncGenerator<Piece, void> {
    for (;;) {
      const piece = this.#waiting.shift();
      if (piece !== undefined) {
        const wasFull = this.#waitingBytes >= MAX_WAITING_BYTES;
        this.#waitingBytes -= this.#bytesOf(piece);
        if (wasFull && this.#waitingBytes < MAX_WAITING_BYTES) this.#source.resume();
        yield piece;
      } else if (this.#end !== undefined) {
        if (this.#end.error !== undefined) throw this.#end.error;
        return;
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }
}
