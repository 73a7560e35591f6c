import { CacheError, type ValueEntry } from "@frontcache/proto";
import type { BodyPieces } from "./body-tee.js";

/** Bytes that are sent on at a time while more arrive. */
const STEP_BYTES = 256 << 10;

/**
 * A body of a known size that is gathered in memory, and sent on to other members while it arrives. Each iteration begins at its first
 * byte, so that a request can be repeated. Its last piece follows only when the body is known to be complete and undamaged: a receiver
 * that knows the size never gets all of another body.
 */
export class GatheredBody implements BodyPieces {
  readonly size: number;
  readonly #memory: Buffer;
  readonly #whole: Promise<Buffer>;
  #arrivedBytes = 0;
  #state: "arriving" | "ended" | "complete" = "arriving";
  readonly #wake = new Set<() => void>();

  /** Begins to receive a body, into memory of its size. */
  constructor(url: string, body: BodyPieces, memory: Buffer) {
    this.size = memory.length;
    this.#memory = memory;
    this.#whole = this.#gather(url, body);
    // Whoever needs the bytes learns of it.
    this.#whole.catch(() => {});
  }

  /** Nobody writes into the memory any more. */
  get isOver(): boolean {
    return this.#state === "complete";
  }

  /** Resolves with all bytes. Rejects if the body has another size, or with its error. */
  whole(): Promise<Buffer> {
    return this.#whole;
  }

  /** Receives no more: nobody needs the bytes. */
  end(): void {
    if (this.#state === "arriving") this.#state = "ended";
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void> {
    let at = 0;
    while (this.#state === "arriving") {
      const end = this.#arrivedBytes < this.size ? this.#arrivedBytes : at;
      if (end > at) yield this.#memory.subarray(at, end);
      else await Promise.race([this.#more(), this.#whole]);
      at = end;
    }
    await this.#whole;
    if (at < this.size) yield this.#memory.subarray(at);
  }

  #more(): Promise<void> {
    return new Promise((resolve) => this.#wake.add(resolve));
  }

  async #gather(url: string, body: BodyPieces): Promise<Buffer> {
    const { size } = this;
    const bytes = await (body.receive === undefined ? this.#copyPieces(body) : this.#receive(body));
    if (this.#state === "ended") throw new CacheError("CANCELLED", `${url}: the body is not needed any more`);
    this.#state = "complete";
    if (bytes !== size) throw wrongSize({ url, size }, bytes);
    return this.#memory;
  }

  /** Resolves with the number of bytes; with a larger one than the memory has if more follow. */
  async #copyPieces(body: BodyPieces): Promise<number> {
    for await (const piece of body) {
      if (this.#state === "ended") break;
      const at = this.#arrivedBytes;
      if (at + piece.length > this.size) return at + piece.length;
      this.#memory.set(piece, at);
      body.taken?.(piece);
      this.#arrived(piece.length);
    }
    return this.#arrivedBytes;
  }

  /** As `#copyPieces`, without a copy. */
  async #receive(body: BodyPieces): Promise<number> {
    try {
      for (;;) {
        const at = this.#arrivedBytes;
        const isFull = at === this.size;
        const bytes = await body.receive!(isFull ? Buffer.allocUnsafe(1) : this.#memory.subarray(at, at + STEP_BYTES));
        if (bytes === 0 || this.#state === "ended") return at;
        if (isFull) return at + bytes;
        this.#arrived(bytes);
      }
    } finally {
      await body[Symbol.asyncIterator]().return?.();
    }
  }

  #arrived(bytes: number): void {
    this.#arrivedBytes += bytes;
    for (const wake of this.#wake) wake();
    this.#wake.clear();
  }
}

/** The error of a body of another length than was announced. */
export function wrongSize({ url, size }: Pick<ValueEntry, "url" | "size">, sent: number): CacheError {
  const message = `${url}: the body has ${sent > size ? "more" : "fewer"} than the ${size} bytes announced`;
  return new CacheError("INVALID_ARGUMENT", message, { s3Code: "IncompleteBody" });
}
