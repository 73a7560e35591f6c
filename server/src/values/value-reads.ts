import { CacheError, outOfRange } from "@frontcache/proto";
import { lengthOf, type Slice } from "../runtime/slice.js";
import type { BlockPin } from "../storage/block.js";
import type { ValueBlocks } from "./value-blocks.js";
import type { KnownEntry } from "./value-entries.js";
import type { ValueInfo, ValueRead } from "./values.js";

/** The range of a read of a value of this size. Throws OUT_OF_RANGE. */
export function spanOf(url: string, offset: number, length: number | undefined, size: number): { start: number; end: number } {
  if (offset >= size && !(offset === 0 && size === 0)) throw outOfRange(url, offset, size);
  return { start: offset, end: length === undefined ? size : Math.min(size, offset + length) };
}

/** A read of a value whose bytes are here. Its blocks are pinned from the start: they stay until it is closed. */
export class LocalValueRead implements ValueRead {
  readonly info: ValueInfo;
  readonly isLocal = true;
  readonly offset: number;
  readonly length: number;
  readonly #blocks: ValueBlocks;
  readonly #onBytes: (bytes: number) => void;
  readonly #pins: (BlockPin | undefined)[] = [];
  readonly #firstBlock: number;
  readonly #end: number;
  readonly #release: () => void;
  #position: number;
  #closed = false;

  /** Throws UNAVAILABLE if a block is gone. */
  constructor(
    known: KnownEntry,
    span: { readonly start: number; readonly end: number },
    blocks: ValueBlocks,
    onBytes: (bytes: number) => void,
  ) {
    this.#blocks = blocks;
    this.#onBytes = onBytes;
    this.info = known.info;
    this.offset = span.start;
    this.length = span.end - span.start;
    this.#position = span.start;
    this.#end = span.end;
    const { blockBytes } = blocks.geometry;
    this.#firstBlock = Math.floor(span.start / blockBytes);
    const { url } = known.entry;
    this.#release = blocks.use(url, known.stored);
    for (let index = this.#firstBlock; index * blockBytes < span.end; index++) {
      const pin = blocks.pin(url, known.stored, index);
      if (pin === undefined) {
        this.close();
        throw new CacheError("UNAVAILABLE", `${url}: the value was replaced: read again`);
      }
      this.#pins.push(pin);
    }
  }

  next(): Slice | undefined | Promise<Slice | undefined> {
    if (this.#closed || this.#position >= this.#end) return undefined;
    const { blockBytes } = this.#blocks.geometry;
    const index = Math.floor(this.#position / blockBytes);
    const start = index * blockBytes;
    const pin = this.#pins[index - this.#firstBlock];
    const found = pin?.read(this.#position - start, Math.min(blockBytes, this.#end - start));
    if (found instanceof Promise) return found.then((slice) => (slice === undefined ? this.#damaged() : this.#advance(slice)));
    return found === undefined ? this.#damaged() : this.#advance(found);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const pin of this.#pins) pin?.release();
    this.#release();
  }

  #damaged(): Promise<never> {
    const message = `${this.info.url}: bytes at offset ${this.#position} are damaged: read again`;
    return Promise.reject(new CacheError("UNAVAILABLE", message));
  }

  #advance(slice: Slice): Slice | undefined {
    if (this.#closed) {
      slice.release();
      return undefined;
    }
    this.#position += slice.bytes.length;
    this.#onBytes(slice.bytes.length);
    // A pin is not needed behind its block.
    const done = Math.floor(this.#position / this.#blocks.geometry.blockBytes) - this.#firstBlock - 1;
    if (done >= 0 && this.#position < this.#end) {
      this.#pins[done]?.release();
      this.#pins[done] = undefined;
    }
    return slice;
  }
}

/** A read whose bytes are counted. */
export class CountedRead implements ValueRead {
  readonly info: ValueInfo;
  readonly isLocal: boolean;
  readonly offset: number;
  readonly length: number | undefined;
  readonly #read: ValueRead;
  readonly #onBytes: (bytes: number) => void;

  constructor(read: ValueRead, onBytes: (bytes: number) => void) {
    const { info, isLocal, offset, length } = read;
    [this.info, this.isLocal, this.offset, this.length] = [info, isLocal, offset, length];
    this.#read = read;
    this.#onBytes = onBytes;
  }

  next(mayPipe?: boolean): Slice | undefined | Promise<Slice | undefined> {
    const next = this.#read.next(mayPipe);
    return next instanceof Promise ? next.then((slice) => this.#counted(slice)) : this.#counted(next);
  }

  close(): void {
    this.#read.close();
  }

  #counted(slice: Slice | undefined): Slice | undefined {
    if (slice !== undefined) this.#onBytes(lengthOf(slice));
    return slice;
  }
}

/** Bytes of a value from an offset. Empty and not `ended`: ask again. */
export interface Piece {
  readonly data: Uint8Array;
  readonly ended: boolean;
}

/** A read that asks for one piece after the other: of another member, or of a value that is being written. One piece is requested ahead. */
export class PiecewiseRead implements ValueRead {
  readonly info: ValueInfo;
  readonly isLocal = false;
  readonly offset: number;
  readonly length: number | undefined;
  readonly #fetch: (offset: number, most: number) => Promise<Piece>;
  readonly #onBytes: (bytes: number) => void;
  readonly #end: number;
  #position: number;
  #ahead: Promise<Piece> | undefined;
  #isOver = false;

  /** `first`: the first piece, if it is known. */
  constructor(options: {
    readonly info: ValueInfo;
    readonly offset: number;
    readonly length: number | undefined;
    readonly first: Piece | undefined;
    fetch(offset: number, most: number): Promise<Piece>;
    onBytes(bytes: number): void;
  }) {
    this.info = options.info;
    this.offset = options.offset;
    this.length = options.length;
    this.#end = options.length === undefined ? Number.POSITIVE_INFINITY : options.offset + options.length;
    this.#position = options.offset;
    this.#fetch = (offset, most) => options.fetch(offset, most);
    this.#onBytes = (bytes) => options.onBytes(bytes);
    if (options.first !== undefined && options.first.data.length > 0) this.#ahead = Promise.resolve(options.first);
    if (options.first?.ended === true && options.first.data.length === 0) this.#isOver = true;
  }

  async next(): Promise<Slice | undefined> {
    for (;;) {
      if (this.#isOver || this.#position >= this.#end) return undefined;
      const { data, ended } = await (this.#ahead ?? this.#request(this.#position));
      this.#ahead = undefined;
      if (this.#isOver) return undefined;
      const bytes = data.subarray(0, this.#end - this.#position);
      this.#position += bytes.length;
      if (ended) this.#isOver = true;
      else if (bytes.length > 0 && this.#position < this.#end) {
        this.#ahead = this.#request(this.#position);
        this.#ahead.catch(() => {});
      }
      if (bytes.length === 0) continue;
      this.#onBytes(bytes.length);
      return { bytes: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), release() {} };
    }
  }

  close(): void {
    this.#isOver = true;
  }

  #request(offset: number): Promise<Piece> {
    return this.#fetch(offset, Math.min(READ_PIECE_BYTES, this.#end - offset));
  }
}

/** Bytes that one call to another member returns. */
export const READ_PIECE_BYTES = 1 << 20;
