import type { Slice } from "../runtime/slice.js";

/** Counts the pins and slices in use. 0 when no read is running. */
export class References {
  #open = 0;

  get open(): number {
    return this.#open;
  }

  /** Adds a reference, which the caller removes once. */
  acquire(): void {
    this.#open++;
  }

  /** Removes a reference that `acquire` added. */
  remove(): void {
    this.#open--;
  }

  /** Adds a reference. The returned function removes it, once, and calls `takeBack`. */
  add(takeBack: () => void): () => void {
    this.#open++;
    let isOpen = true;
    return () => {
      if (!isOpen) return;
      isOpen = false;
      this.#open--;
      takeBack();
    };
  }

  /** Returns bytes as a slice that calls `takeBack` when it is released. */
  slice(bytes: Buffer, takeBack: () => void): Slice {
    return { bytes, release: this.add(takeBack) };
  }
}

/** Size of a pooled buffer, and maximum bytes of one read. */
export const READ_BYTES = 1 << 20;

/** Reads up to this size get separate memory, because pooled buffers would be wasted on them. */
const SMALL_BYTES = 64 << 10;

/**
 * Memory for reads from files. The number of buffers is limited. If none is left, because slow clients use
 * them, reads become small instead of waiting for other clients.
 */
export class ReadBuffers {
  readonly #memoryBytes: number;
  readonly #references: References;

  readonly #free: Buffer[] = [];
  #allocated = 0;

  constructor(memoryBytes: number, references: References) {
    this.#memoryBytes = memoryBytes;
    this.#references = references;
  }

  /** Returns memory for up to `wantedBytes`: at least 64 KiB, at most 1 MiB. */
  take(wantedBytes: number): Slice {
    if (wantedBytes <= SMALL_BYTES) return this.#own(wantedBytes);
    const buffer = this.#free.pop() ?? this.#allocate();
    if (buffer === undefined) return this.#own(SMALL_BYTES);
    return this.#references.slice(buffer.subarray(0, Math.min(wantedBytes, READ_BYTES)), () => this.#free.push(buffer));
  }

  #allocate(): Buffer | undefined {
    if ((this.#allocated + 1) * READ_BYTES > this.#memoryBytes) return undefined;
    this.#allocated++;
    return Buffer.allocUnsafeSlow(READ_BYTES);
  }

  #own(bytes: number): Slice {
    return this.#references.slice(Buffer.allocUnsafeSlow(bytes), () => undefined);
  }
}
