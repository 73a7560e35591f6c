import { CacheError } from "@frontcache/proto";
import type { ObjectRead } from "../../cache/object-read.js";
import type { Clock } from "../../runtime/clock.js";
import { type FileBytes, lengthOf, type PipedBytes, type Slice } from "../../runtime/slice.js";
import type { Client } from "../limits/clients.js";
import { UNAVAILABLE } from "./direct-socket.js";
import { PIECE_BYTES, type SendStrategy, type StrategyFor } from "./send-strategy.js";

/** A client that takes longer than this for one write is stalled. */
const STALLED_MS = 100;

/** Slices up to this size are sent immediately in one write. */
const SMALL_BYTES = 64 << 10;

/** Bytes that are written through the stream to learn when a full socket takes bytes again. */
const PROBE_BYTES = 4 << 10;

/** The destination of the bytes: a plain reply, a response of Node's HTTP server, or a gRPC call. */
export interface Sink {
  /** Calls `taken` when the bytes have left this process, or never. Only one write may be running. */
  write(bytes: Buffer, taken: () => void): unknown;
  /** Sends bytes of a file after the head, as `DirectSocket.sendFile` does. Absent: UNAVAILABLE. */
  sendFile?(descriptor: number, position: number, count: number): number;
  /** Sends bytes after the head, as `DirectSocket.send` does. Absent: UNAVAILABLE. */
  sendMemory?(bytes: Buffer): number;
  /** Whether `sendPiped` may be called. Absent: no. */
  readonly takesPipes?: boolean;
  /**
   * Sends bytes after the head, and behind them those of a pipe. Returns how many of both the kernel took, FULL, or UNAVAILABLE.
   */
  sendPiped?(first: Buffer, piped: PipedBytes): number;
  /** Writes the last bytes, if any, and ends the response. */
  end(bytes?: Buffer): unknown;
  /** Disconnects the client. */
  destroy(): unknown;
}

export interface SendingOptions {
  readonly read: Pick<ObjectRead, "length" | "next" | "close">;
  readonly sink: Sink;
  readonly strategyFor: StrategyFor;
  /** The client, for the fair queue and the send buffer. */
  readonly client: Client;
  readonly clock: Clock;
  /** Called before the first bytes, also of an empty response. Before that, a failure can still be answered with an error. */
  begin(): void;
  /** Called at most once, if the read fails. Nothing is sent afterwards. */
  onFailure(error: unknown): void;
}

/** A slice whose bytes from `from` on have left the memory and are read again. */
interface LostSlice {
  readonly slice: Slice;
  readonly file: FileBytes;
  from: number;
}

/**
 * Sends the bytes of a read: pulls a slice, sends it in writes, releases it, and pulls the next one after the sink has taken it.
 * A SendStrategy defines how. The owner calls `end` when the response is over, sent or not.
 *
 * Memory that the sink uses cannot be reclaimed while the client stalls. For mapped bytes this costs nothing. Of scarce memory
 * only copies are passed to the sink, and the slice is released as soon as its last byte is copied: if the client stalls, the
 * rest is copied.
 */
export class Sending {
  readonly #options: SendingOptions;
  #slice: Slice | undefined;
  #lost: LostSlice | undefined;
  #strategy: SendStrategy | undefined;
  /** Bytes of the slice that were passed to the sink. */
  #handedBytes = 0;
  /** Whether the sink uses the slice's memory. */
  #inFlight = false;
  /** Bytes of the read that were not passed to the sink yet. */
  #unsentBytes: number;
  /** The engine's buffer for copies. */
  #piece: Buffer | undefined;
  #begun = false;
  #over = false;
  /** Bytes of the last part, and the number of reads that had begun before it. */
  #lastPart = 0;
  #begunBefore: number | undefined;
  #cancelStallTimer: (() => void) | undefined;
  /** Removes the bytes of the last write from the send buffer. */
  #unbuffer: (() => void) | undefined;

  constructor(options: SendingOptions) {
    this.#options = options;
    this.#unsentBytes = options.read.length;
  }

  /** Whether all bytes were passed to the sink. */
  get complete(): boolean {
    return this.#unsentBytes === 0 && this.#begun;
  }

  /** Whether bytes, or the end of an empty response, were passed to the sink. */
  get begun(): boolean {
    return this.#begun;
  }

  /** Starts sending. Never throws. */
  start(): void {
    if (this.#unsentBytes > 0) {
      this.#pull();
      return;
    }
    try {
      this.#begin();
      this.#options.sink.end();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Releases all resources. May be called repeatedly. */
  end(): void {
    if (this.#over) return;
    this.#over = true;
    this.#unbuffer?.();
    this.#release();
    this.#releaseLost();
    this.#options.read.close();
  }

  #pull(): void {
    if (this.#over) return;
    try {
      const next =
        this.#lost === undefined ? this.#options.read.next(this.#options.sink.takesPipes) : this.#nextAgain(this.#lost);
      if (next instanceof Promise) next.then((slice) => this.#take(slice)).catch((error: unknown) => this.#fail(error));
      else this.#take(next);
    } catch (error) {
      this.#fail(error);
    }
  }

  #take(slice: Slice | undefined): void {
    if (this.#over) {
      slice?.release();
      return;
    }
    if (slice === undefined) throw new CacheError("INTERNAL", `the read ended ${this.#unsentBytes} bytes too soon`);
    this.#slice = slice;
    this.#strategy = this.#options.strategyFor(slice);
    if (lengthOf(slice) > this.#unsentBytes) throw new CacheError("INTERNAL", "the read gave more bytes than it has");
    if (!this.#begun) this.#begin();
    this.#sendNext(slice, this.#strategy);
  }

  #begin(): void {
    this.#begun = true;
    this.#options.begin();
  }

  #sendNext(slice: Slice, strategy: SendStrategy): void {
    const length = lengthOf(slice);
    if (length <= SMALL_BYTES) {
      this.#send(slice, strategy, length - this.#handedBytes);
      return;
    }
    this.#lastPart = strategy.nextPart(this.#lastPart, this.#isAlone());
    const bytes = Math.min(this.#lastPart, length - this.#handedBytes);
    if (strategy.queues) {
      this.#options.client.enqueue(bytes * strategy.queueWeight, () => {
        if (!this.#over) this.#send(slice, strategy, bytes);
      });
    } else this.#send(slice, strategy, bytes);
  }

  #send(slice: Slice, strategy: SendStrategy, count: number): void {
    const { file, piped } = slice;
    try {
      if (piped !== undefined) {
        this.#sendPiped(slice, strategy, piped);
        return;
      }
      if (strategy.copiedBy === "kernel") {
        const { sink } = this.#options;
        const bytes = slice.bytes.subarray(this.#handedBytes, this.#handedBytes + count);
        this.#sent(slice, strategy, count, sink.sendMemory?.(bytes) ?? UNAVAILABLE);
        return;
      }
      if (file === undefined || !strategy.isFromFile) {
        this.#write(slice, strategy, count);
        return;
      }
      // The first part was in memory a moment ago.
      const isStillThere = this.#handedBytes === 0 || file.isInMemory(this.#handedBytes, this.#handedBytes + count);
      if (isStillThere) this.#sendFile(slice, strategy, file, count);
      else this.#pullAgain(slice, file);
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Has the kernel send bytes of the slice's file. */
  #sendFile(slice: Slice, strategy: SendStrategy, { descriptor, position }: FileBytes, count: number): void {
    const { sink } = this.#options;
    this.#sent(slice, strategy, count, sink.sendFile?.(descriptor, position + this.#handedBytes, count) ?? UNAVAILABLE);
  }

  /** The kernel has taken `sent` of the next `count` bytes. Bytes that it does not take now are written. */
  #sent(slice: Slice, strategy: SendStrategy, count: number, sent: number): void {
    if (sent === UNAVAILABLE) {
      this.#write(slice, strategy, count);
      return;
    }
    this.#handedBytes += sent;
    this.#unsentBytes -= sent;
    if (sent < count) {
      this.#write(slice, strategy, Math.min(PROBE_BYTES, count - sent));
      return;
    }
    const { length } = slice.bytes;
    if (this.#handedBytes === length) this.#release();
    if (this.#unsentBytes === 0) this.#options.sink.end();
    else this.#taken();
  }

  /** Has the kernel send the bytes of the slice's pipe, behind those in memory. Bytes that it does not take now are written. */
  #sendPiped(slice: Slice, strategy: SendStrategy, piped: PipedBytes): void {
    const { sink } = this.#options;
    const first = this.#handedBytes === 0 ? slice.bytes : slice.bytes.subarray(this.#handedBytes);
    const result = sink.sendPiped?.(first, piped) ?? UNAVAILABLE;
    const sent = Math.max(0, result);
    const sentOfFirst = Math.min(sent, first.length);
    this.#handedBytes += sentOfFirst;
    this.#unsentBytes -= sent;
    if (sentOfFirst < first.length) this.#write(slice, strategy, Math.min(PIECE_BYTES, first.length - sentOfFirst));
    else if (piped.count > 0) this.#pass(piped.read(result === UNAVAILABLE ? PIECE_BYTES : PROBE_BYTES), slice, strategy);
    else {
      this.#release();
      if (this.#unsentBytes === 0) sink.end();
      else this.#taken();
    }
  }

  #pullAgain(slice: Slice, file: FileBytes): void {
    this.#lost = { slice, file, from: this.#handedBytes };
    this.#slice = undefined;
    this.#handedBytes = 0;
    this.#inFlight = false;
    this.#pull();
  }

  /** The next bytes of a slice whose rest has left the memory. */
  async #nextAgain(lost: LostSlice): Promise<Slice> {
    const { slice, file } = lost;
    const again = await file.readAgain(lost.from);
    if (again === undefined) throw new CacheError("UNAVAILABLE", "cached bytes were lost while they were sent: try again");
    lost.from += again.bytes.length;
    if (lost.from === slice.bytes.length && this.#lost === lost) this.#releaseLost();
    return again;
  }

  #releaseLost(): void {
    this.#lost?.slice.release();
    this.#lost = undefined;
  }

  /** Returns whether no other read ran since the last part. */
  #isAlone(): boolean {
    const { reads, begunReads } = this.#options.client.clients;
    const isAlone = reads <= 1 && (this.#begunBefore ?? begunReads) === begunReads;
    this.#begunBefore = begunReads;
    return isAlone;
  }

  /** Sends the last bytes with the end; if they are few, in one packet with the header. */
  #write(slice: Slice, strategy: SendStrategy, count: number): void {
    const { copiedBy } = strategy;
    const { length } = slice.bytes;
    const original = count === length ? slice.bytes : slice.bytes.subarray(this.#handedBytes, this.#handedBytes + count);
    const bytes = copiedBy === "engine" || copiedBy === "kernel" ? this.#copy(original) : original;
    this.#handedBytes += count;
    this.#inFlight = copiedBy === "nobody";
    this.#pass(bytes, slice, strategy);
  }

  /** Passes bytes to the sink. `slice`: what is left of it is released, or copied if the client stalls. */
  #pass(bytes: Buffer, slice: Slice, { occupiesMemory }: SendStrategy): void {
    const { sink, clock } = this.#options;
    this.#unsentBytes -= bytes.length;
    if (occupiesMemory) this.#unbuffer = this.#buffer(bytes.length);
    const isWhole = this.#handedBytes === lengthOf(slice);
    if (slice.scarce === true && !isWhole) this.#cancelStallTimer = clock.after(STALLED_MS, () => this.#copyRest(slice));
    if (this.#unsentBytes > 0) sink.write(bytes, () => this.#taken());
    else sink.end(bytes);
    // The sink may have taken the bytes already: then this is another slice.
    if (isWhole && !this.#inFlight && this.#slice === slice) this.#release();
  }

  /** The buffer is free again after the sink has taken its bytes. */
  #copy(bytes: Buffer): Buffer {
    this.#piece ??= Buffer.allocUnsafeSlow(Math.min(PIECE_BYTES, this.#unsentBytes));
    const copied = bytes.copy(this.#piece);
    return this.#piece.subarray(0, copied);
  }

  #buffer(bytes: number): () => void {
    const { client, sink } = this.#options;
    return client.clients.sendBuffer.add(bytes, () => sink.destroy());
  }

  /** Called when the sink has taken the last write. */
  #taken(): void {
    this.#unbuffer?.();
    this.#cancelStallTimer?.();
    this.#cancelStallTimer = undefined;
    if (this.#slice !== undefined && this.#handedBytes === lengthOf(this.#slice)) this.#release();
    if (this.#over) return;
    if (this.#slice === undefined) this.#pull();
    else this.#sendNext(this.#slice, this.#strategy!);
  }

  #copyRest({ bytes, piped }: Slice): void {
    const unsent = bytes.subarray(this.#handedBytes);
    const rest = piped === undefined ? Buffer.from(unsent) : Buffer.concat([unsent, piped.read(piped.count)]);
    this.#release();
    const copy = { bytes: rest, release: this.#buffer(rest.length) };
    this.#slice = copy;
    this.#strategy = this.#options.strategyFor(copy);
  }

  #release(): void {
    this.#cancelStallTimer?.();
    this.#cancelStallTimer = undefined;
    this.#handedBytes = 0;
    this.#inFlight = false;
    this.#slice?.release();
    this.#slice = undefined;
  }

  #fail(error: unknown): void {
    if (this.#over) return;
    this.end();
    this.#options.onFailure(error);
  }
}
