import { CacheError, type ValueEntry } from "@frontcache/proto";
import type { BodyPieces } from "./body-tee.js";

/** Memory of a member for bytes of one kind that are being written. */
const MOST_BYTES = 128 << 20;
/** Buffers that are kept to be used again: new memory of 1 MiB costs more than a copy into it. */
const MOST_KEPT = 16;

/** Memory for bytes that are being written. Bounded, and used again: V8 marks its whole heap whenever dozens of MiB of memory are garbage. */
export class WriteMemory {
  #bytes = 0;
  readonly #kept: Buffer[] = [];

  get bytes(): number {
    return this.#bytes;
  }

  /** Returns memory, which may contain anything; undefined: too much is used. `give` takes it back. */
  take(bytes: number): Buffer | undefined {
    if (this.#bytes + bytes > MOST_BYTES) return undefined;
    this.#bytes += bytes;
    const kept = this.#kept.at(-1)?.length === bytes ? this.#kept.pop() : undefined;
    return kept ?? Buffer.allocUnsafeSlow(bytes);
  }

  /** Takes memory back. `isFree`: nobody uses it any more. */
  give(buffer: Buffer, isFree = true): void {
    this.#bytes -= buffer.length;
    if (isFree && this.#kept.length < MOST_KEPT && buffer.length >= (this.#kept[0]?.length ?? 0)) this.#kept.push(buffer);
  }
}

/** A value of at most so many bytes is sent to each member with one request, which may be repeated. */
export const WHOLE_BYTES = 1 << 20;
/** Smaller bodies are gathered in memory of their own. */
const LEAST_REUSED_BYTES = 64 << 10;

/** A body that was gathered in memory. */
export interface WholeBody {
  readonly bytes: Buffer;
  /** Call it once. `isFree`: nobody uses the bytes any more. */
  release(isFree: boolean): void;
}

/** Gathers bodies of at most `WHOLE_BYTES` in memory. */
export class WholeBodies {
  readonly #memory = new WriteMemory();

  /** Resolves with a body of `size` bytes; undefined: too much memory is used. Rejects if the body has another size. */
  async gather(url: string, body: BodyPieces, size: number): Promise<WholeBody | undefined> {
    const isReused = size >= LEAST_REUSED_BYTES;
    const memory = isReused ? this.#memory.take(WHOLE_BYTES) : Buffer.allocUnsafe(size);
    if (memory === undefined) return undefined;
    const release = (isFree: boolean): void => {
      if (isReused) this.#memory.give(memory, isFree);
    };
    let at = 0;
    try {
      for await (const piece of body) {
        if (at + piece.length > size) throw wrongSize({ url, size }, at + piece.length);
        memory.set(piece, at);
        at += piece.length;
        body.taken?.(piece);
      }
      if (at < size) throw wrongSize({ url, size }, at);
    } catch (error) {
      release(true);
      throw error;
    }
    return { bytes: memory.subarray(0, size), release };
  }
}

/** The error of a body of another length than was announced. */
export function wrongSize({ url, size }: Pick<ValueEntry, "url" | "size">, sent: number): CacheError {
  const message = `${url}: the body has ${sent > size ? "more" : "fewer"} than the ${size} bytes announced`;
  return new CacheError("INVALID_ARGUMENT", message, { s3Code: "IncompleteBody" });
}
