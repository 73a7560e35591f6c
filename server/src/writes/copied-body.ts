import { freeMemory } from "../runtime/free-memory.js";

/** The memory of a copy is allocated in pieces of this size, or less for the last one. */
const PIECE_BYTES = 1 << 20;

/** The memory for copies of all bodies together. */
export class CopyMemory {
  #leftBytes: number;

  constructor(bytes: number) {
    this.#leftBytes = bytes;
  }

  /** A copy of a body of this many bytes, which is released by its creator. Undefined: there is no memory for it now. */
  copy(bytes: number): CopiedBody | undefined {
    if (bytes > this.#leftBytes) return undefined;
    this.#leftBytes -= bytes;
    return new CopiedBody(bytes, () => {
      this.#leftBytes += bytes;
    });
  }
}

/** A copy of the body of a write, made while the body is sent to the origin. Its memory is freed by its last user. */
export class CopiedBody {
  /** Bytes of the whole body. */
  readonly length: number;
  readonly #pieces: Buffer[] = [];
  readonly #onFreed: () => void;
  #filledBytes = 0;
  #users = 1;

  constructor(length: number, onFreed: () => void) {
    this.length = length;
    this.#onFreed = onFreed;
  }

  /** Whether all bytes were added. */
  get complete(): boolean {
    return this.#filledBytes === this.length;
  }

  /** Copies the next bytes of the body. */
  add(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      const inPiece = this.#filledBytes % PIECE_BYTES;
      if (inPiece === 0) {
        this.#pieces.push(Buffer.allocUnsafeSlow(Math.min(PIECE_BYTES, this.length - this.#filledBytes)));
      }
      const piece = this.#pieces.at(-1)!;
      const count = Math.min(piece.length - inPiece, bytes.length - at);
      piece.set(bytes.subarray(at, at + count), inPiece);
      at += count;
      this.#filledBytes += count;
    }
  }

  /** The bytes from `start` to `end`, in pieces, which are valid until `release`. */
  *slices(start: number, end: number): Generator<Buffer, void> {
    for (let at = start; at < end; ) {
      const inPiece = at % PIECE_BYTES;
      const piece = this.#pieces[Math.floor(at / PIECE_BYTES)]!;
      const slice = piece.subarray(inPiece, Math.min(piece.length, inPiece + end - at));
      yield slice;
      at += slice.length;
    }
  }

  /** Keeps the memory until one more `release`. */
  retain(): void {
    this.#users++;
  }

  release(): void {
    if (--this.#users > 0) return;
    for (const piece of this.#pieces.splice(0)) freeMemory(piece);
    this.#onFreed();
  }
}
