/** Where a stream's blocks land: each in new memory, or in what an earlier one has left. */
export class StreamMemory {
  readonly #reuse: boolean;
  readonly #free: Buffer[] = [];
  #passed: Buffer | undefined;

  constructor(reuse: boolean) {
    this.#reuse = reuse;
  }

  take(bytes: number): Buffer {
    const at = this.#free.findIndex((buffer) => buffer.length >= bytes);
    if (at < 0) return Buffer.allocUnsafe(bytes);
    return this.#free.splice(at, 1)[0]!.subarray(0, bytes);
  }

  /**
   * The reader has asked for what lies behind a block. It still looks at its last piece, because streams ask ahead by one: the
   * block before it is what it has done with.
   */
  pass(block: Buffer | undefined): void {
    if (!this.#reuse) return;
    if (this.#passed !== undefined) this.#free.push(this.#passed);
    this.#passed = block;
  }
}
