import { newMemory } from "./result-memory.js";

/** The buffers of a stream's blocks. Each block gets a new buffer, or with `reuse` the buffer of an earlier block. */
export class StreamMemory {
  readonly #reuse: boolean;
  readonly #free: Buffer[] = [];
  #passed: Buffer | undefined;

  constructor(reuse: boolean) {
    this.#reuse = reuse;
  }

  /** Returns a buffer of `bytes` bytes with undefined contents. */
  take(bytes: number): Buffer {
    const at = this.#free.findIndex((buffer) => buffer.length >= bytes);
    if (at < 0) return newMemory(bytes);
    return this.#free.splice(at, 1)[0]!.subarray(0, bytes);
  }

  /**
   * Call when the consumer has requested the bytes after a block. It may still use the block's last chunk, because streams read
   * one chunk ahead. Therefore the buffer of the block before this one becomes free.
   */
  pass(block: Buffer | undefined): void {
    if (!this.#reuse) return;
    if (this.#passed !== undefined) this.#free.push(this.#passed);
    this.#passed = block;
  }
}
