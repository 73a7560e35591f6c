import type { CacheReport } from "@frontcache/client/members";
import { CacheError, type ObjectInfo } from "@frontcache/proto";
import { LinkedAbort } from "@frontcache/proto/runtime";
import type { ObjectRead, ReadResult } from "../cache/object-read.js";
import type { Slice } from "../runtime/slice.js";

/** Opens the read of a further block, of the version that the first block had. The signal ends that read alone. */
export type OpenNext = (blockIndex: number, version: string, signal: AbortSignal) => ObjectRead | Promise<ObjectRead>;

export interface MultiBlockReadOptions {
  /** The first block's read: it decides the version. */
  readonly first: ObjectRead;
  /** Bytes of the whole read, inside the object. */
  readonly length: number;
  /** Blocks of the whole read. */
  readonly blocks: number;
  /** Aborted when nobody waits for the read any more. */
  readonly signal: AbortSignal;
  readonly open: OpenNext;
}

/** The read of a further block, opened or on its way. */
interface FurtherBlock {
  readonly read: Promise<ObjectRead>;
  readonly abort: LinkedAbort;
}

/**
 * Blocks that a read may begin ahead of the one that it is at, while its blocks come from the origin: with 4 parts of each, 16
 * requests, so that the origin's latency does not limit one sequential read.
 */
const MAX_AHEAD = 3;

/**
 * A read across blocks: one after the other, all of the first one's version, the next one always on its way. With each block that
 * had to be fetched from the origin, the read begins one more block ahead.
 */
export class MultiBlockRead implements ObjectRead {
  readonly #options: MultiBlockReadOptions;

  readonly info: ObjectInfo;
  readonly offset: number;
  readonly length: number;
  #result: ReadResult;
  #current: ObjectRead | undefined;
  /** Of the current block, unless it is the first one. */
  #currentAbort: LinkedAbort | undefined;
  /** The next blocks, in order. */
  readonly #upcoming: FurtherBlock[] = [];
  /** Blocks to begin ahead. */
  #ahead = 1;
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

  next(mayPipe?: boolean): Slice | undefined | Promise<Slice | undefined> {
    const found = this.#current?.next(mayPipe);
    if (found === undefined) return this.#turn(mayPipe);
    return found instanceof Promise ? found.then((slice) => slice ?? this.#turn(mayPipe)) : found;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#leaveCurrent();
    for (const { read, abort } of this.#upcoming.splice(0)) {
      read.then((opened) => opened.close()).catch(() => {});
      // Another member opens its block with the first bytes. Until then only the signal says that nobody needs them.
      abort.abort(new CacheError("CANCELLED", "the read was closed before this block's turn"));
    }
  }

  /** To the next block. */
  async #turn(mayPipe: boolean | undefined): Promise<Slice | undefined> {
    const [upcoming] = this.#upcoming;
    if (this.#closed || upcoming === undefined) return undefined;
    if (isFetched(this.#result)) this.#ahead = Math.min(MAX_AHEAD, this.#ahead + 1);
    this.#leaveCurrent();
    this.#currentAbort = upcoming.abort;
    const read = await upcoming.read.catch((error: unknown) => {
      if (this.#closed) return undefined;
      throw error;
    });
    if (this.#closed || read === undefined) return undefined;
    if (read.info.version !== this.info.version) {
      throw new CacheError("INTERNAL", `offset ${read.offset} was answered with another version than asked for`);
    }
    this.#upcoming.shift();
    this.#current = read;
    this.#result = read.result;
    this.#lookAhead();
    return this.next(mayPipe);
  }

  #leaveCurrent(): void {
    this.#current?.close();
    this.#currentAbort?.unlink();
    this.#current = undefined;
    this.#currentAbort = undefined;
  }

  #lookAhead(): void {
    while (this.#upcoming.length < this.#ahead && this.#nextIndex < this.#options.blocks) {
      const index = this.#nextIndex++;
      // Its error is reported when the block's turn comes: until then there are bytes to hand out.
      const abort = new LinkedAbort(this.#options.signal);
      const open = async (): Promise<ObjectRead> => this.#options.open(index, this.info.version, abort.signal);
      const read = open();
      read.catch(() => {});
      this.#upcoming.push({ read, abort });
    }
  }
}

/** Whether this member fetched the block from the origin. */
function isFetched(result: ReadResult): boolean {
  return result === "filled" || result === "joined";
}
