import { CacheError, type ValueInfo } from "@frontcache/proto";

/** Writes a value piece by piece. A value whose writer is aborted, or whose process ends, is dropped. */
export class ValueWriter implements AsyncDisposable {
  readonly #stored: Promise<ValueInfo>;
  readonly #size: number | undefined;
  readonly #abort = new AbortController();
  #piece: Uint8Array | undefined;
  #isOver = false;
  #written = 0;
  /** Wakes the sender, which waits for a piece. */
  #wake: () => void = () => {};
  /** Wakes the writer, whose piece was taken. */
  #taken: () => void = () => {};
  #failure: unknown;

  /** `put` sends what it reads. */
  constructor(size: number | undefined, put: (bytes: AsyncIterable<Uint8Array>, signal: AbortSignal) => Promise<ValueInfo>) {
    this.#size = size;
    this.#stored = put(this.#pieces(), this.#abort.signal);
    this.#stored.catch((error: unknown) => {
      this.#failure = error;
      this.#taken();
    });
  }

  /** Bytes that were written. */
  get writtenBytes(): number {
    return this.#written;
  }

  /** Resolves when the bytes were sent, so that a slow cache slows the writer down. Await it before the next call. */
  async write(bytes: Uint8Array | string): Promise<void> {
    const piece = typeof bytes === "string" ? Buffer.from(bytes) : bytes;
    if (this.#isOver) throw new CacheError("FAILED_PRECONDITION", "the writer has ended");
    if (this.#failure !== undefined) throw this.#failure;
    if (piece.length === 0) return;
    this.#written += piece.length;
    this.#piece = piece;
    this.#wake();
    await new Promise<void>((resolve) => {
      this.#taken = resolve;
    });
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Ends the value; resolves when it is stored. */
  async finish(): Promise<ValueInfo> {
    if (this.#size !== undefined && this.#written !== this.#size) {
      await this.abort();
      throw new CacheError("INVALID_ARGUMENT", `${this.#written} bytes were written instead of ${this.#size}`);
    }
    this.#isOver = true;
    this.#wake();
    return await this.#stored;
  }

  /** Drops the value. Its readers get an error. Has no effect after `finish`. */
  async abort(): Promise<void> {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#abort.abort(new CacheError("CANCELLED", "the writer was aborted"));
    this.#wake();
    await this.#stored.catch(() => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.abort();
  }

  async *#pieces(): AsyncGenerator<Uint8Array, void> {
    for (;;) {
      const piece = this.#piece;
      if (piece !== undefined) {
        this.#piece = undefined;
        yield piece;
        this.#taken();
      } else if (this.#isOver) return;
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }
}
