import type { Slice } from "../runtime/slice.js";

/** Bytes of a pooled buffer, and the most that one read brings. */
export const READ_BYTES = 1 << 20;

/** Reads up to this size take memory of their own: pooled buffers would be wasted on them. */
const SMALL_BYTES = 64 << 10;

/**
 * Memory for reads from files. A bounded number of buffers is lent out; when none is left, because slow readers hold
 * them, reads become small rather than wait for somebody else's reader.
 */
export class ReadBuffers {
  readonly #free: Buffer[] = [];
  #lent = 0;

  constructor(private readonly memoryBytes: number) {}

  /** Pooled buffers that readers hold. */
  get lent(): number {
    return this.#lent;
  }

  /** Memory for up to `wantedBytes`: at least 64 KiB, at most 1 MiB of it. */
  take(wantedBytes: number): Slice {
    if (wantedBytes <= SMALL_BYTES) return own(wantedBytes);
    const buffer = this.#free.pop() ?? this.#allocate();
    if (buffer === undefined) return own(SMALL_BYTES);
    this.#lent++;
    let released = false;
    return {
      bytes: buffer.subarray(0, Math.min(wantedBytes, READ_BYTES)),
      release: () => {
        if (released) return;
        released = true;
        this.#lent--;
        this.#free.push(buffer);
      },
    };
  }

  #allocate(): Buffer | undefined {
    const allocated = (this.#lent + this.#free.length) * READ_BYTES;
    return allocated + READ_BYTES <= this.memoryBytes ? Buffer.allocUnsafeSlow(READ_BYTES) : undefined;
  }
}

function own(bytes: number): Slice {
  return { bytes: Buffer.allocUnsafeSlow(bytes), release: () => undefined };
}
