import type { Readable } from "node:stream";
import { abortError, CacheError } from "@frontcache/proto";

/** What waits for a reader before the socket is paused: a few of its 64 KiB reads. */
const QUEUE_BYTES = 256 << 10;

/** How a body that is not what its head promised is told. */
export interface BodyErrors {
  /** The connection broke or was closed after `received` bytes; the cause where there is one. */
  broken(received: number, cause?: unknown): CacheError;
  /** More bytes came than promised. */
  surplus(): CacheError;
}

/**
 * A response's body as chunks, exactly `length` bytes of them in all or an error. Chunks are the socket's own, not copied:
 * a stream's own iterator joins what is buffered. Nothing flows before the first `next`.
 */
export class SocketBody implements AsyncIterableIterator<Uint8Array> {
  readonly #stream: Readable;
  readonly #length: number;
  readonly #errors: BodyErrors;
  readonly #signal: AbortSignal;
  readonly #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  #received = 0;
  #flowing = false;
  #outcome: "ended" | CacheError | undefined;
  #waiting: PromiseWithResolvers<IteratorResult<Uint8Array>> | undefined;
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

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** The next chunk, in order. What came before a failure (not an abort) is handed out before it. One call at a time. */
  next(): Promise<IteratorResult<Uint8Array>> {
    const chunk = this.#queue.shift();
    if (chunk !== undefined) {
      this.#queuedBytes -= chunk.length;
      if (this.#queuedBytes === 0) this.#stream.resume();
      return Promise.resolve({ value: chunk, done: false });
    }
    if (this.#outcome === "ended") return Promise.resolve({ value: undefined, done: true });
    if (this.#outcome !== undefined) return Promise.reject(this.#outcome);
    this.#waiting = withResolvers();
    this.#flow();
    return this.#waiting.promise;
  }

  async return(): Promise<IteratorResult<Uint8Array>> {
    this.destroy();
    return { value: undefined, done: true };
  }

  /** Drops what is unread; a `next` that waits ends with CANCELLED. The connection is kept where all bytes have come. */
  destroy(): void {
    this.#dropQueue();
    if (this.#outcome !== undefined) return;
    // All bytes are here and only the parser's word for it is outstanding: the connection is worth keeping.
    if (this.#received === this.#length && this.#flowing) this.#stream.resume();
    else this.#fail(new CacheError("CANCELLED", "the origin's answer was dropped"));
  }

  #dropQueue(): void {
    this.#queue.length = 0;
    this.#queuedBytes = 0;
  }

  #flow(): void {
    if (this.#flowing) return;
    this.#flowing = true;
    this.#stream.on("data", (chunk: Uint8Array) => this.#onData(chunk));
  }

  #onData(chunk: Uint8Array): void {
    if (this.#outcome !== undefined) return;
    this.#received += chunk.length;
    if (this.#received > this.#length) {
      this.#fail(this.#errors.surplus());
      return;
    }
    if (this.#waiting !== undefined) {
      this.#waiting.resolve({ value: chunk, done: false });
      this.#waiting = undefined;
      return;
    }
    this.#queue.push(chunk);
    this.#queuedBytes += chunk.length;
    if (this.#queuedBytes >= QUEUE_BYTES) this.#stream.pause();
  }

  #onEnd(): void {
    if (this.#received < this.#length) this.#fail(this.#errors.broken(this.#received));
    if (this.#outcome !== undefined) return;
    this.#settle("ended");
    this.#waiting?.resolve({ value: undefined, done: true });
    this.#waiting = undefined;
  }

  #fail(error: CacheError): void {
    if (this.#outcome !== undefined) return;
    this.#settle(error);
    this.#stream.destroy();
    this.#waiting?.reject(error);
    this.#waiting = undefined;
  }

  #settle(outcome: "ended" | CacheError): void {
    this.#outcome = outcome;
    this.#signal.removeEventListener("abort", this.#onAbort);
  }
}

/** Promise.withResolvers, which Node 20 does not have. */
interface PromiseWithResolvers<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (reason: unknown) => void;
}

function withResolvers<T>(): PromiseWithResolvers<T> {
  let resolve!: (value: T) => void;
  let reject!: (reason: unknown) => void;
  const promise = new Promise<T>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  return { promise, resolve, reject };
}
