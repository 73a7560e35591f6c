import type { CacheError } from "@frontcache/proto";
import type { ValueRead, Values } from "../values/values.js";
import { requestOf } from "./value-samples.js";

/** A body whose pieces the test sends. */
export class SentBody implements AsyncIterable<Uint8Array> {
  readonly #pieces: (Uint8Array | Error | undefined)[] = [];
  #wake: (() => void) | undefined;

  send(bytes: Uint8Array): void {
    this.#push(bytes);
  }

  end(error?: Error): void {
    this.#push(error);
  }

  #push(piece: Uint8Array | Error | undefined): void {
    this.#pieces.push(piece);
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    for (;;) {
      while (this.#pieces.length === 0) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
      const piece = this.#pieces.shift();
      if (piece === undefined) return;
      if (piece instanceof Error) throw piece;
      yield piece;
    }
  }
}

/** The bytes of a read, whole. */
export async function bytesOf(read: ValueRead): Promise<Buffer> {
  const pieces: Buffer[] = [];
  try {
    for (let slice = await read.next(); slice !== undefined; slice = await read.next()) {
      pieces.push(Buffer.from(slice.bytes));
      slice.release();
    }
    return Buffer.concat(pieces);
  } finally {
    read.close();
  }
}

/** Opens a read that follows the value's writer, as soon as the writer has begun. */
export async function openWhenWritten(values: Values, key: string) {
  for (;;) {
    try {
      return await values.open({ ...requestOf(key), offset: 0, follow: true });
    } catch (error) {
      if ((error as CacheError).code !== "NOT_FOUND") throw error;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}
