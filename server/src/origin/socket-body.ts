import type { Readable } from "node:stream";
import { abortError, CacheError } from "@frontcache/proto";
import type { OriginBody } from "./origin.js";

/** What waits for a reader before the socket is paused: a few of its 64 KiB reads. */
const QUEUE_BYTES = 256 << 10;

/** How a body that is not what its head promised is told. */
export interface BodyErrors {
  /** The connection broke or was closed after `received` bytes; the cause where there is one. */
  broken(received: number, cause?: unknown): CacheError;
  /** More bytes came than promised. */
  surplus(): CacheError;
}

/** A read that waits for the socket. */
interface WaitingRead {
  readonly memory: Buffer;
  resolve(bytes: number): void;
  reject(error: CacheError): void;
}

/**
 * A response's body, exactly `length` bytes of it in all or an error: each chunk is copied from where the parser left it to
 * where the reader wants it, once. Nothing flows before the first read.
 */
export class SocketBody implements OriginBody {
  readonly #stream: Readable;
  readonly #length: number;
  readonly #errors: BodyErrors;
  readonly #signal: AbortSignal;
  /** What came while nobody read, or was too much for who did. */
  readonly #queue: Buffer[] = [];
  #queuedBytes = 0;
  #received = 0;
  #flowing = false;
  #outcome: "ended" | CacheError | undefined;
  #waiting: WaitingRead | undefined;
  readonly #onAbort = (): void => {
    this.#dropQueue();
    this.#fail(abortError(this.#signal));
  };

  constructor(stream: Readable, length: number, errors: BodyErrors, signal: AbortSignal) {
    this.#stream = stream;
    this.#length = length;
    this.#errors = errors;
    this.#signal = signal;
    stream.on("error", (cause) => this.#fail(errors.broken(this.#received, cause)));
    stream.on("close", () => this.#fail(errors.broken(this.#received)));
    stream.on("end", () => this.#onEnd());
    if (signal.aborted) this.#onAbort();
    else signal.addEventListener("abort", this.#onAbort, { once: true });
  }

  /** As the port says. What came before a failure (not an abort) is handed out before it. */
  read(memory: Buffer): Promise<number> {
    if (this.#queuedBytes > 0) return Promise.resolve(this.#takeQueued(memory));
    if (this.#outcome === "ended") return Promise.resolve(0);
    if (this.#outcome !== undefined) return Promise.reject(this.#outcome);
    this.#flow();
    return new Promise((resolve, reject) => {
      this.#waiting = { memory, resolve, reject };
    });
  }

  /** A read that waits ends with CANCELLED. The connection is kept where all bytes have come. */
  destroy(): void {
    this.#dropQueue();
    if (this.#outcome !== undefined) return;
    // All bytes are here and only the parser's word for it is outstanding: the connection is worth keeping.
    if (this.#received === this.#length && this.#flowing) this.#stream.resume();
    else this.#fail(new CacheError("CANCELLED", "the origin's answer was dropped"));
  }

  #takeQueued(memory: Buffer): number {
    let taken = 0;
    while (taken < memory.length) {
      const chunk = this.#queue[0];
      if (chunk === undefined) break;
      const bytes = chunk.copy(memory, taken);
      taken += bytes;
      if (bytes === chunk.length) this.#queue.shift();
      else this.#queue[0] = chunk.subarray(bytes);
    }
    this.#queuedBytes -= taken;
    if (this.#queuedBytes === 0) this.#stream.resume();
    return taken;
  }

  #dropQueue(): void {
    this.#queue.length = 0;
    this.#queuedBytes = 0;
  }

  #flow(): void {
    if (this.#flowing) return;
    this.#flowing = true;
    this.#stream.on("data", (chunk: Buffer) => this.#onData(chunk));
  }

  #onData(chunk: Buffer): void {
    if (this.#outcome !== undefined) return;
    this.#received += chunk.length;
    if (this.#received > this.#length) {
      this.#fail(this.#errors.surplus());
      return;
    }
    const waiting = this.#waiting;
    this.#waiting = undefined;
    const taken = waiting === undefined ? 0 : chunk.copy(waiting.memory);
    if (taken < chunk.length) {
      this.#queue.push(taken === 0 ? chunk : chunk.subarray(taken));
      this.#queuedBytes += chunk.length - taken;
      if (this.#queuedBytes >= QUEUE_BYTES) this.#stream.pause();
    }
    waiting?.resolve(taken);
  }

  #onEnd(): void {
    if (this.#received < this.#length) this.#fail(this.#errors.broken(this.#received));
    if (this.#outcome !== undefined) return;
    this.#settle("ended")?.resolve(0);
  }

  #fail(error: CacheError): void {
    if (this.#outcome !== undefined) return;
    const waiting = this.#settle(error);
    this.#stream.destroy();
    waiting?.reject(error);
  }

  /** Returns the read that waits to be told. */
  #settle(outcome: "ended" | CacheError): WaitingRead | undefined {
    this.#outcome = outcome;
    this.#signal.removeEventListener("abort", this.#onAbort);
    const waiting = this.#waiting;
    this.#waiting = undefined;
    return waiting;
  }
}
