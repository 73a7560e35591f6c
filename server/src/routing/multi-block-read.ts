import type { CacheReport } from "@frontcache/client/members";
import { CacheError, type ObjectInfo } from "@frontcache/proto";
import type { ObjectRead, ReadResult } from "../cache/object-read.js";
import type { Slice } from "../runtime/slice.js";

/** Opens the read of a further block, of the version that the first block had. */
export type OpenNext = (blockIndex: number, version: string) => ObjectRead | Promise<ObjectRead>;

export interface MultiBlockReadOptions {
  /** The first block's read: it decides the version. */
  readonly first: ObjectRead;
  /** Bytes of the whole read, inside the object. */
  readonly length: number;
  /** Blocks of the whole read. */
  readonly blocks: number;
  readonly open: OpenNext;
}

/** A read across blocks: one after the other, all of the first one's version, the next one always on its way. */
export class MultiBlockRead implements ObjectRead {
  readonly #options: MultiBlockReadOptions;

  readonly info: ObjectInfo;
  readonly offset: number;
  readonly length: number;
  #result: ReadResult;
  #current: ObjectRead | undefined;
  #upcoming: Promise<ObjectRead> | undefined;
  #nextIndex = 1;
  #closed = false;

  constructor(options: MultiBlockReadOptions) {
    this.#options = options;
    this.info = options.first.info;
    this.offset = options.first.offset;
    this.length = options.length;
    this.#result = options.first.result;
    this.#current = options.first;
    this.#lookAhead();
  }

  /** That of the block whose bytes came last. */
  get result(): ReadResult {
    return this.#result;
  }

  get ageMs(): number | undefined {
    return this.#options.first.ageMs;
  }

  get forwarded(): CacheReport | undefined {
    return this.#options.first.forwarded;
  }

  next(): Slice | undefined | Promise<Slice | undefined> {
    const found = this.#current?.next();
    if (found === undefined) return this.#turn();
    return found instanceof Promise ? found.then((slice) => slice ?? this.#turn()) : found;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#current?.close();
    this.#current = undefined;
    this.#upcoming?.then((read) => read.close()).catch(() => {});
    this.#upcoming = undefined;
  }

  /** To the next block. */
  async #turn(): Promise<Slice | undefined> {
    if (this.#closed || this.#upcoming === undefined) return undefined;
    this.#current?.close();
    this.#current = undefined;
    const read = await this.#upcoming;
    if (this.#closed) return undefined;
    if (read.info.version !== this.info.version) {
      throw new CacheError("INTERNAL", `offset ${read.offset} was answered with another version than asked for`);
    }
    this.#current = read;
    this.#result = read.result;
    this.#lookAhead();
    return this.next();
  }

  #lookAhead(): void {
    const index = this.#nextIndex++;
    if (index >= this.#options.blocks) {
      this.#upcoming = undefined;
      return;
    }
    // What it throws is told when the block's turn comes: until then there are bytes to hand out.
    const open = async (): Promise<ObjectRead> => this.#options.open(index, this.info.version);
    this.#upcoming = open();
    this.#upcoming.catch(() => {});
  }
}
