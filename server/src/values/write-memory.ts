import { CacheError, type ValueEntry } from "@frontcache/proto";
import type { BodyPieces } from "./body-tee.js";
import type { StepBytes } from "./value-members.js";

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

/** A body that is received into memory which is used again. */
export interface ReceivedBody<Bytes extends StepBytes = StepBytes> {
  readonly bytes: Bytes;
  /** Call it once, when the write has ended. `isFree`: nobody uses any of the bytes any more. */
  release(isFree: boolean): void;
}

/** Receives the bodies of values that clients and members write. */
export class ReceivedBodies {
  readonly #memory = new WriteMemory();
  readonly #segmentBytes: number;

  constructor(segmentBytes: number) {
    this.#segmentBytes = segmentBytes;
  }

  /** Receives a body as it arrives. `offset`: of the body in its value. */
  inSegments(body: BodyPieces, offset: number): ReceivedBody<BodyPieces> {
    const bytes = new SegmentedBody(body, offset, { memory: this.#memory, segmentBytes: this.#segmentBytes });
    return { bytes, release: (isFree) => bytes.release(isFree) };
  }

  /**
   * Resolves with the whole body of `size` bytes, at most `WHOLE_BYTES`; undefined: too much memory is used. Rejects if the body has another
   * size.
   */
  async whole(url: string, body: BodyPieces, size: number): Promise<ReceivedBody<Buffer> | undefined> {
    const isReused = size >= LEAST_REUSED_BYTES;
    const memory = isReused ? this.#memory.take(WHOLE_BYTES) : Buffer.allocUnsafe(size);
    if (memory === undefined) return undefined;
    const release = (isFree: boolean): void => {
      if (isReused) this.#memory.give(memory, isFree);
    };
    try {
      const bytes = await receiveAll(body, memory.subarray(0, size));
      if (bytes !== size) throw wrongSize({ url, size }, bytes);
    } catch (error) {
      release(true);
      throw error;
    }
    return { bytes: memory.subarray(0, size), release };
  }
}

/** Fills memory with a body. Resolves with the number of its bytes; with a larger one than the memory has if more follow. */
async function receiveAll(body: BodyPieces, target: Uint8Array): Promise<number> {
  let at = 0;
  if (body.receive === undefined) {
    for await (const piece of body) {
      if (at + piece.length > target.length) return at + piece.length;
      target.set(piece, at);
      at += piece.length;
      body.taken?.(piece);
    }
    return at;
  }
  try {
    for (;;) {
      const isFull = at === target.length;
      const bytes = await body.receive(isFull ? Buffer.allocUnsafe(1) : target.subarray(at));
      if (bytes === 0) return at;
      at += bytes;
      if (isFull) return at;
    }
  } finally {
    await body[Symbol.asyncIterator]().return?.();
  }
}

/**
 * A body whose pieces are received into memory that is used again, cut where segments begin: members store and send these pieces without
 * a copy. A body that cannot be received into memory keeps its pieces.
 */
class SegmentedBody implements BodyPieces {
  readonly #body: BodyPieces;
  readonly #memory: WriteMemory;
  readonly #segmentBytes: number;
  /** Bytes from the beginning of a segment to the next ones. */
  #at: number;
  /** The memory of pieces that may be used, in the order of the pieces. */
  readonly #used: Buffer[] = [];

  /** `offset`: of the body in its value. */
  constructor(body: BodyPieces, offset: number, { memory, segmentBytes }: { memory: WriteMemory; segmentBytes: number }) {
    this.#body = body;
    this.#memory = memory;
    this.#segmentBytes = segmentBytes;
    this.#at = offset % segmentBytes;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void> {
    const body = this.#body;
    if (body.receive === undefined) {
      yield* body;
      return;
    }
    try {
      for (;;) {
        const left = this.#segmentBytes - this.#at;
        const memory = this.#memory.take(this.#segmentBytes);
        // If too much memory is used, small pieces take their way through memory of their own.
        const target = memory?.subarray(0, left) ?? Buffer.allocUnsafeSlow(Math.min(left, SMALL_PIECE_BYTES));
        if (memory !== undefined) this.#used.push(memory);
        const bytes = await body.receive(target);
        if (bytes === 0) return;
        this.#at = (this.#at + bytes) % this.#segmentBytes;
        yield target.subarray(0, bytes);
      }
    } finally {
      await body[Symbol.asyncIterator]().return?.();
    }
  }

  taken(piece: Uint8Array): void {
    if (this.#body.receive === undefined) this.#body.taken?.(piece);
    const at = this.#used.findIndex(({ buffer }) => buffer === piece.buffer);
    if (at >= 0) this.#memory.give(this.#used.splice(at, 1)[0]!);
  }

  /** As `ReceivedBody.release`. */
  release(isFree: boolean): void {
    for (const memory of this.#used.splice(0)) this.#memory.give(memory, isFree);
  }
}

const SMALL_PIECE_BYTES = 64 << 10;

/** The error of a body of another length than was announced. */
export function wrongSize({ url, size }: Pick<ValueEntry, "url" | "size">, sent: number): CacheError {
  const message = `${url}: the body has ${sent > size ? "more" : "fewer"} than the ${size} bytes announced`;
  return new CacheError("INVALID_ARGUMENT", message, { s3Code: "IncompleteBody" });
}
