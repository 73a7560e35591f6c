import { objectHeaders } from "@frontcache/client/grpc";
import {
  CacheError,
  checkRange,
  MESSAGE_BYTES,
  parseObjectUrl,
  type ReadRangeRequest,
  type ReadRangeResponse,
} from "@frontcache/proto";
import type { ServerWritableStream } from "@grpc/grpc-js";
import type { ObjectRead } from "../../cache/object-read.js";
import type { Cache } from "../../routing/cache.js";
import type { Clock } from "../../runtime/clock.js";
import type { Log } from "../../runtime/log.js";
import type { Slice } from "../../runtime/slice.js";
import { ANONYMOUS } from "../../security/principal.js";
import { callStatus } from "../call-status.js";
import type { Client, Clients } from "../limits/clients.js";

/** A reader that takes longer than this over one slice, slower than 10 MiB/s, is given a copy of it. */
const STALLED_MS = 100;

/** Slices up to this size are copied when their reader stalls. Larger ones are mapped: they cost address space, no memory. */
const MAX_COPY_BYTES = 1 << 20;

/** What is not larger needs no turn. */
const SMALL_BYTES = 64 << 10;

export interface ReadRangeCallOptions {
  readonly cache: () => Cache;
  readonly clients: Clients;
  /** Cuts off the connection from an `address:port`. */
  readonly cutOff: (peer: string) => void;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * One running ReadRange. It takes slices from the read and sends them in messages, one at a time: the next one is written
 * when HTTP/2 took the last, so a slow reader holds a single message here. A message's bytes are copied out of the slice
 * inside `write` (see read-range-message.ts), and the slice goes back right after its last one.
 */
export class ReadRangeCall {
  readonly #gone = new AbortController();
  #read: ObjectRead | undefined;
  /** What is left of the slice in hand; `#sent` of its bytes are behind us. */
  #slice: Slice | undefined;
  #sent = 0;
  /** What is left of the read. */
  #unsent = 0;
  #isFirst = true;
  #ended = false;
  #cancelStallTimer: (() => void) | undefined;
  /** Gives back the room of the message that waits for its reader. */
  #taken: (() => void) | undefined;
  readonly #peer: string;
  readonly #client: Client;

  constructor(
    private readonly call: ServerWritableStream<ReadRangeRequest, ReadRangeResponse>,
    private readonly options: ReadRangeCallOptions,
  ) {
    this.#peer = call.getPeer();
    this.#client = options.clients.of(this.#peer.slice(0, this.#peer.lastIndexOf(":")));
    call.once("cancelled", () => this.#leave());
  }

  /** Answers the call. Never throws. */
  run(): void {
    try {
      const busy = this.#client.beginRead();
      if (busy !== undefined) throw busy;
      this.call.once("cancelled", () => this.#client.endRead());
      const { key, offset, length, version, forwarded, cachedOnly } = this.call.request;
      const ref = parseObjectUrl(key);
      checkRange(key, offset, length);
      const opened = this.options.cache().open({
        ref,
        version: version === "" ? undefined : version,
        offset,
        length,
        forwarded,
        cachedOnly,
        principal: ANONYMOUS,
        signal: this.#gone.signal,
      });
      if (opened instanceof Promise) opened.then((read) => this.#begin(read), this.#fail);
      else this.#begin(opened);
    } catch (error) {
      this.#fail(error);
    }
  }

  #begin(read: ObjectRead): void {
    if (this.#ended) {
      read.close();
      return;
    }
    this.#read = read;
    this.#unsent = read.length;
    const { forwarded, cachedOnly } = this.call.request;
    if (forwarded || cachedOnly) this.call.sendMetadata(objectHeaders(read.info));
    this.#send();
  }

  /** Sends the next message of the slice in hand, or gets the next slice. Runs again when the message is taken. */
  readonly #send = (): void => {
    this.#taken?.();
    if (this.#ended) return;
    if (this.#slice !== undefined) {
      this.#sendPart(this.#slice);
      return;
    }
    try {
      const next = this.#read!.next();
      if (next instanceof Promise) next.then(this.#take, this.#fail);
      else this.#take(next);
    } catch (error) {
      this.#fail(error);
    }
  };

  readonly #take = (slice: Slice | undefined): void => {
    if (this.#ended) slice?.release();
    else if (slice === undefined) this.#finish();
    else {
      this.#slice = slice;
      this.#sent = 0;
      this.#watchForStall(slice);
      this.#sendPart(slice);
    }
  };

  #sendPart(slice: Slice): void {
    const bytes = Math.min(slice.bytes.length - this.#sent, MESSAGE_BYTES);
    if (bytes <= SMALL_BYTES) this.#writePart(slice);
    // Meanwhile the slice in hand may have become a copy.
    else this.#client.takeTurn(bytes, () => this.#slice !== undefined && this.#writePart(this.#slice));
  }

  /** By the end of `write` the bytes are copied. A reader that leaves them waiting longest is cut off when memory runs out. */
  #writePart(slice: Slice): void {
    const end = Math.min(slice.bytes.length, this.#sent + MESSAGE_BYTES);
    const data = slice.bytes.subarray(this.#sent, end);
    this.#sent = end;
    this.#unsent -= data.length;
    this.#taken = this.#hold(data.length);
    this.call.write(this.#message(data), this.#send);
    if (end === slice.bytes.length) this.#release();
  }

  #hold(bytes: number): () => void {
    return this.options.clients.waiting.hold(bytes, () => this.options.cutOff(this.#peer));
  }

  #message(data: Buffer): ReadRangeResponse {
    if (!this.#isFirst) return { data, version: "", objectSize: 0 };
    this.#isFirst = false;
    const { version, objectSize } = this.#read!.info;
    return { data, version, objectSize };
  }

  /**
   * Slices of running fills come from a memory budget that all fills share. A reader that stopped reading must not hold a
   * part of it, or enough of them would stop every fill: its slice is copied and given back.
   */
  #watchForStall({ bytes }: Slice): void {
    if (bytes.length <= MESSAGE_BYTES || bytes.length > MAX_COPY_BYTES) return;
    this.#cancelStallTimer = this.options.clock.after(STALLED_MS, () => {
      const rest = Buffer.from(bytes.subarray(this.#sent));
      this.#release();
      this.#slice = { bytes: rest, release: this.#hold(rest.length) };
      this.#sent = 0;
    });
  }

  #release(): void {
    this.#cancelStallTimer?.();
    this.#cancelStallTimer = undefined;
    this.#slice?.release();
    this.#slice = undefined;
  }

  /** An object without bytes is told of, too: its version and size come in a message of their own. */
  #finish(): void {
    if (this.#unsent !== 0) {
      this.#fail(new CacheError("INTERNAL", `the read ended ${this.#unsent} bytes too soon`));
      return;
    }
    if (this.#isFirst) this.call.write(this.#message(Buffer.alloc(0)));
    this.#end();
    this.call.end();
  }

  readonly #fail = (error: unknown): void => {
    if (this.#ended) return;
    this.#end();
    this.call.emit("error", callStatus(error, "ReadRange", this.options.log));
  };

  /** The reader went away, its deadline is over, or the call is over; grpc-js says `cancelled` in all of these cases. */
  #leave(): void {
    if (this.#ended) return;
    this.#gone.abort(new CacheError("CANCELLED", "the reader went away"));
    this.#end();
  }

  #end(): void {
    this.#ended = true;
    this.#taken?.();
    this.#release();
    this.#read?.close();
  }
}
