import { CacheError } from "@frontcache/proto";
import type { ObjectRead } from "../../cache/object-read.js";
import type { Clock } from "../../runtime/clock.js";
import type { Slice } from "../../runtime/slice.js";
import type { Reply } from "./reply.js";

/** A reader that takes longer than this over one piece is stalled. */
const STALLED_MS = 100;

/** Scarce memory is copied in pieces of this size. */
const PIECE_BYTES = 128 << 10;

export interface BodySendingOptions {
  readonly response: Reply;
  readonly read: ObjectRead;
  readonly clock: Clock;
  /** Writes the head, right before the first bytes: until then a failure can be answered properly. */
  writeHead(): void;
  /** The bytes can't be had, or not all of them. Called once at most; nothing is sent after it. */
  onFailure(error: unknown): void;
}

/**
 * Sends the bytes of a read, slice by slice, each after the socket took the last. Slices are written as they are: the kernel
 * copies them while it sends, and they are released in the write's callback, the last one when the response is closed.
 *
 * A slice in the socket's hands can't be taken back, however long the reader stalls. That costs nothing for mapped bytes. Of
 * memory that others wait for (`scarce`) only copies are written, and the slice goes back as soon as its last byte is copied;
 * a stalled reader gets the rest of it in one copy.
 */
export class BodySending {
  #slice: Slice | undefined;
  /** Bytes of the slice in hand that are copied, where it is a scarce one. */
  #copied = 0;
  #piece: Buffer | undefined;
  /** The slice in hand is in the socket's. */
  #inFlight = false;
  #unsent: number;
  #begun = false;
  #over = false;
  #cancelStallTimer: (() => void) | undefined;

  constructor(private readonly options: BodySendingOptions) {
    this.#unsent = options.read.length;
  }

  /** Gets and sends the next slice; goes on by itself. Never throws. */
  send(): void {
    if (this.#over) return;
    try {
      const next = this.options.read.next();
      if (next instanceof Promise) next.then((slice) => this.#take(slice)).catch((error: unknown) => this.#fail(error));
      else this.#take(next);
    } catch (error) {
      this.#fail(error);
    }
  }

  /** The response is closed, sent or not: gives back everything. A socket that is closed looks at no slice any more. */
  end(): void {
    if (this.#over) return;
    this.#over = true;
    this.#release();
    this.options.read.close();
  }

  #take(slice: Slice | undefined): void {
    if (this.#over) {
      slice?.release();
      return;
    }
    if (slice === undefined) throw new CacheError("INTERNAL", `the read ended ${this.#unsent} bytes too soon`);
    this.#slice = slice;
    if (slice.bytes.length > this.#unsent) throw new CacheError("INTERNAL", "the read gave more bytes than it has");
    if (!this.#begun) {
      this.#begun = true;
      this.options.writeHead();
    }
    this.#sendSlice(slice);
  }

  #sendSlice(slice: Slice): void {
    if (slice.scarce === true) this.#sendPiece(slice);
    else {
      this.#inFlight = true;
      this.#write(slice.bytes);
    }
  }

  /** Copies the next bytes of a scarce slice out and sends them. The one buffer is free again when the socket took them. */
  #sendPiece(slice: Slice): void {
    this.#piece ??= Buffer.allocUnsafeSlow(Math.min(PIECE_BYTES, this.#unsent));
    const { length } = slice.bytes;
    const count = slice.bytes.copy(this.#piece, 0, this.#copied, length);
    this.#copied += count;
    if (this.#copied === length) this.#release();
    else this.#cancelStallTimer = this.options.clock.after(STALLED_MS, () => this.#copyRest(slice));
    this.#write(this.#piece.subarray(0, count));
  }

  /** The last bytes go with the end, in one packet with the head where they are few. */
  #write(bytes: Buffer): void {
    this.#unsent -= bytes.length;
    if (this.#unsent > 0) this.options.response.write(bytes, () => this.#written());
    else this.options.response.end(bytes);
  }

  /** The socket took the slice, or a copied piece of it. */
  #written(): void {
    this.#cancelStallTimer?.();
    this.#cancelStallTimer = undefined;
    if (this.#inFlight) this.#release();
    if (this.#slice === undefined) this.send();
    else this.#sendSlice(this.#slice);
  }

  #copyRest({ bytes }: Slice): void {
    const rest = Buffer.from(bytes.subarray(this.#copied));
    this.#release();
    this.#slice = { bytes: rest, release() {} };
  }

  #release(): void {
    this.#cancelStallTimer?.();
    this.#cancelStallTimer = undefined;
    this.#copied = 0;
    this.#inFlight = false;
    this.#slice?.release();
    this.#slice = undefined;
  }

  #fail(error: unknown): void {
    if (this.#over) return;
    this.end();
    this.options.onFailure(error);
  }
}
