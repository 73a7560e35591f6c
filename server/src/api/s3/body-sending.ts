import { CacheError } from "@frontcache/proto";
import type { ObjectRead } from "../../cache/object-read.js";
import type { Clock } from "../../runtime/clock.js";
import type { Slice } from "../../runtime/slice.js";
import type { Client, Clients } from "../limits/clients.js";
import type { Reply } from "./reply.js";

/** A reader that takes longer than this over one piece is stalled. */
const STALLED_MS = 100;

/** What is not larger needs no turn. */
const SMALL_BYTES = 64 << 10;

/**
 * Mapped memory is handed to the kernel in parts: 16 MiB at once would keep everything else waiting. Parts cost time, too, so
 * that each is twice as large as the one before, up to a bound. Where others read, the first is small, because clients that
 * leave soon shall cost no more than that (measured: beside a crowd of them small reads took 1.9 and 2.8 times as long at p99
 * as alone, 3.2 and 3.3 times with large first parts).
 */
const AMONG_OTHERS = { first: 64 << 10, most: 512 << 10 };

/**
 * As long as nobody else reads. Measured: beside another client's scan of 1 GiB/s small reads took 1.5 to 2.0 times as long at
 * p99 as alone; reads of 16 MiB one at a time were at 0.93 of raw TCP, with 2 MiB at most at 0.81.
 */
const ALONE = { first: 1 << 20, most: 4 << 20 };

/** Scarce memory is copied, and anything encrypted, in pieces of this size. */
const PIECE_BYTES = 128 << 10;

export interface BodySendingOptions {
  readonly response: Reply;
  readonly read: ObjectRead;
  readonly clock: Clock;
  /** Whose turn it has to be for a large part. */
  readonly client: Client;
  /** Whether what is handed to the socket is copied at once, for TLS. */
  readonly encrypted: boolean;
  readonly waiting: Clients["waiting"];
  /** Writes the head, right before the first bytes: until then a failure can be answered properly. */
  writeHead(): void;
  /** The bytes can't be had, or not all of them. Called once at most; nothing is sent after it. */
  onFailure(error: unknown): void;
}

/**
 * Sends the bytes of a read, slice by slice, each after the socket took the last; large ones in parts, each of which waits for
 * its client's turn. They are written as they are: the kernel copies them while it sends, and a slice is released in its last
 * write's callback, the last one when the response is closed.
 *
 * A slice in the socket's hands can't be taken back, however long the reader stalls. That costs nothing for mapped bytes. Of
 * memory that others wait for (`scarce`) only copies are written, and the slice goes back as soon as its last byte is copied;
 * a stalled reader gets the rest of it in one copy.
 */
export class BodySending {
  #slice: Slice | undefined;
  /** Bytes of the slice in hand that are handed over: copied, where it is a scarce one. */
  #copied = 0;
  #piece: Buffer | undefined;
  /** The slice in hand is in the socket's. */
  #inFlight = false;
  #unsent: number;
  #begun = false;
  #over = false;
  #cancelStallTimer: (() => void) | undefined;
  /** The last part, and how many reads had begun before it. */
  #part = 0;
  #begunBefore: number | undefined;
  /** Gives back the room of the bytes that wait in memory. */
  #taken: (() => void) | undefined;

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
    this.#taken?.();
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
      if (slice.bytes.length <= SMALL_BYTES) this.#sendPart(slice, slice.bytes.length);
      else this.#awaitTurn(slice);
    }
  }

  #awaitTurn(slice: Slice): void {
    const { client } = this.options;
    const bytes = Math.min(this.#nextPart(), slice.bytes.length - this.#copied);
    client.takeTurn(bytes, () => {
      if (!this.#over) this.#sendPart(slice, bytes);
    });
  }

  #nextPart(): number {
    const { client, encrypted } = this.options;
    if (encrypted) return PIECE_BYTES;
    const { reads, begunReads } = client.clients;
    const isAlone = reads <= 1 && (this.#begunBefore ?? begunReads) === begunReads;
    this.#begunBefore = begunReads;
    const { first, most } = isAlone ? ALONE : AMONG_OTHERS;
    this.#part = Math.min(Math.max(first, 2 * this.#part), most);
    return this.#part;
  }

  #sendPart({ bytes }: Slice, count: number): void {
    const { encrypted } = this.options;
    const part = bytes.subarray(this.#copied, this.#copied + count);
    this.#copied += count;
    // TLS encrypts all of it into memory at once.
    if (encrypted) this.#hold(count);
    this.#write(part);
  }

  #hold(bytes: number): void {
    const { waiting, response } = this.options;
    this.#taken = waiting.hold(bytes, () => response.destroy());
  }

  /** Copies the next bytes of a scarce slice out and sends them. The one buffer is free again when the socket took them. */
  #sendPiece(slice: Slice): void {
    this.#piece ??= Buffer.allocUnsafeSlow(Math.min(PIECE_BYTES, this.#unsent));
    const { length } = slice.bytes;
    const count = slice.bytes.copy(this.#piece, 0, this.#copied, length);
    this.#copied += count;
    if (this.#copied === length) this.#release();
    else this.#cancelStallTimer = this.options.clock.after(STALLED_MS, () => this.#copyRest(slice));
    this.#hold(count);
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
    this.#taken?.();
    this.#cancelStallTimer?.();
    this.#cancelStallTimer = undefined;
    if (this.#inFlight && this.#copied === this.#slice?.bytes.length) this.#release();
    if (this.#slice === undefined) this.send();
    else this.#sendSlice(this.#slice);
  }

  #copyRest({ bytes }: Slice): void {
    const rest = Buffer.from(bytes.subarray(this.#copied));
    this.#release();
    const { waiting, response } = this.options;
    this.#slice = { bytes: rest, release: waiting.hold(rest.length, () => response.destroy()) };
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
