import type { Slice } from "../runtime/slice.js";

/** An answer of at most this many bytes lands in one small piece. */
const SMALL_BYTES = 64 << 10;
/** Larger answers pass through pieces of this size, which stay in the processor's cache between the two sockets. */
const LARGE_BYTES = 256 << 10;
/** Memory that is kept for later reads, in each of the two sizes. */
const KEPT_BYTES = 16 << 20;

/** Memory through which the bytes of other members pass: reused, so that a read allocates nothing in proportion to its bytes. */
export class PiecePool {
  readonly #small: Buffer[] = [];
  readonly #large: Buffer[] = [];

  /** A piece for an answer that has this many bytes left. Its memory comes back by itself. */
  take(remainingBytes: number): Piece {
    const isSmall = remainingBytes <= SMALL_BYTES;
    const memory = (isSmall ? this.#small : this.#large).pop() ?? Buffer.allocUnsafeSlow(isSmall ? SMALL_BYTES : LARGE_BYTES);
    return new Piece(memory, this);
  }

  giveBack(memory: Buffer): void {
    const kept = memory.length === SMALL_BYTES ? this.#small : this.#large;
    if (kept.length * memory.length < KEPT_BYTES) kept.push(memory);
  }
}

/** Memory that is filled from its beginning, and handed out in slices as it fills. */
export class Piece {
  readonly #memory: Buffer;
  readonly #pool: PiecePool;
  #filledBytes = 0;
  #takenBytes = 0;
  /** Slices that are handed out, and one for the read that fills it and hands it out. */
  #references = 1;

  constructor(memory: Buffer, pool: PiecePool) {
    this.#memory = memory;
    this.#pool = pool;
  }

  /** The rest of the memory; empty: it is full. */
  get room(): Buffer {
    return this.#filledBytes === 0 ? this.#memory : this.#memory.subarray(this.#filledBytes);
  }

  get isFull(): boolean {
    return this.#filledBytes === this.#memory.length;
  }

  /** Bytes that have landed and are not handed out. */
  get waitingBytes(): number {
    return this.#filledBytes - this.#takenBytes;
  }

  /** Whether bytes have landed that are not handed out. */
  get hasBytes(): boolean {
    return this.waitingBytes > 0;
  }

  filled(bytes: number): void {
    this.#filledBytes += bytes;
  }

  /** The bytes that have landed since the last call. */
  slice(): Slice {
    const bytes = this.#memory.subarray(this.#takenBytes, this.#filledBytes);
    this.#takenBytes = this.#filledBytes;
    this.#references++;
    return { bytes, release: this.release };
  }

  /** Releases a slice, or the piece when it is neither filled nor handed out any more: each of them once. */
  readonly release = (): void => {
    if (--this.#references === 0) this.#pool.giveBack(this.#memory);
  };
}
