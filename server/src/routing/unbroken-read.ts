import type { ObjectInfo } from "@frontcache/proto";
import type { BlockRequest } from "../cache/block-request.js";
import type { ObjectRead, ReadResult } from "../cache/object-read.js";
import type { Slice } from "../runtime/slice.js";
import { Unreachable } from "./member-link.js";

/** How often one read may lose the member that answers it. */
const MAX_LOSSES = 3;

/** A forwarded read that goes on elsewhere, from its next byte and with the same version, when its member is lost on the way. */
export class UnbrokenRead implements ObjectRead {
  readonly info: ObjectInfo;
  readonly offset: number;
  readonly length: number;
  readonly result: ReadResult;
  #current: ObjectRead;
  #received = 0;
  #losses = 0;
  #closed = false;

  constructor(
    first: ObjectRead,
    private readonly request: BlockRequest,
    private readonly reopen: (rest: BlockRequest) => ObjectRead | Promise<ObjectRead>,
  ) {
    this.#current = first;
    this.info = first.info;
    this.offset = first.offset;
    this.length = first.length;
    this.result = first.result;
  }

  next(): Slice | undefined | Promise<Slice | undefined> {
    if (this.#closed || this.#received >= this.length) return undefined;
    const found = this.#current.next();
    if (found instanceof Promise)
      return found.then(
        (slice) => this.#count(slice),
        (error) => this.#goOn(error),
      );
    return this.#count(found);
  }

  close(): void {
    this.#closed = true;
    this.#current.close();
  }

  #count(slice: Slice | undefined): Slice | undefined {
    if (slice !== undefined) this.#received += slice.bytes.length;
    return slice;
  }

  async #goOn(error: unknown): Promise<Slice | undefined> {
    if (!(error instanceof Unreachable) || this.#closed || ++this.#losses > MAX_LOSSES) throw error;
    this.#current.close();
    const { start } = this.request;
    const rest = {
      ...this.request,
      version: this.info.version,
      start: start + this.#received,
      end: start + this.length,
      openEnded: false,
    };
    const read = await this.reopen(rest);
    if (this.#closed) {
      read.close();
      return undefined;
    }
    this.#current = read;
    return this.next();
  }
}
