import { abortError } from "@frontcache/proto";
import { whenAborted } from "@frontcache/proto/runtime";
import type { HttpConnection } from "./connection.js";
import type { ConnectionPool } from "./connection-pool.js";
import type { BodySink, HttpCall } from "./http-call.js";
import type { HttpBody, HttpResponse, Landing } from "./http-response.js";
import { ResponseHead } from "./response-head.js";
import { ResponseReader } from "./response-reader.js";
import type { Timed, Timeouts } from "./timeouts.js";

/** What an exchange shares with the others of its target. */
export interface ExchangeScope {
  readonly pool: ConnectionPool;
  readonly maxHeadBytes: number;
  /** Of waiting for a free connection; undefined: none. */
  readonly waits: Timeouts | undefined;
  /** Of a connection on which nothing moves, before the head and in the body. */
  readonly stalls: Timeouts;
}

/** A body in pieces. */
export interface BodyPieces extends AsyncIterable<Uint8Array> {
  /** The kernel has a piece, whose memory is not used any more. Called in the order of the pieces. Absent: nobody waits for it. */
  taken?(piece: Uint8Array): void;
}

/** A request in the form in which it is sent. */
export interface WireRequest {
  readonly head: string;
  readonly body: Uint8Array | undefined;
  /** As in HttpRequest. */
  readonly bodyPieces: BodyPieces | undefined;
  /** As in HttpRequest. */
  readonly waitsForHead: boolean;
  /** As in HttpRequest. */
  readonly mayRepeat: (() => boolean) | undefined;
  /** Whether its response has no body. */
  readonly isHead: boolean;
}

/** The functions of a promise. */
interface Settle<Value> {
  resolve(value: Value): void;
  reject(error: Error): void;
}

/** Bytes of a body that may wait for the kernel. */
const PENDING_BYTES = 512 << 10;

/** How an exchange has ended: all bytes have arrived, or the failure. */
type Outcome = "complete" | Error;

/**
 * One request and its response: the call on a connection, the reader of the response, and its body, in one object, because every
 * object adds to the cost of a small request.
 */
export class Exchange extends ResponseReader<ResponseHead> implements HttpCall, HttpBody, Timed {
  readonly request: string;
  readonly requestBody: Uint8Array | undefined;
  readonly sendBody: ((sink: BodySink) => void) | undefined;
  isSent = true;
  readonly answer = this;
  movedMs = 0;
  previous: Timed | undefined;
  next: Timed | undefined;
  readonly #mayRepeat: (() => boolean) | undefined;
  readonly #scope: ExchangeScope;
  readonly #removeAbort: () => void;
  /** Whether it has a timeout before its head. */
  readonly #hasTimeout: boolean;
  #connection: HttpConnection | undefined;
  /** Settles the request; undefined when it is settled. */
  #settle: Settle<HttpResponse> | undefined;
  /** Bytes received before `land`. */
  #early: Buffer[] | undefined;
  #landing: Landing | undefined;
  #landed: Settle<void> | undefined;
  #isPaused = false;
  /** Ends the wait of a body for its connection. */
  #resumeSending: (() => void) | undefined;
  #outcome: Outcome | undefined;

  private constructor(request: WireRequest, scope: ExchangeScope, signal: AbortSignal, settle: Settle<HttpResponse>) {
    super(scope.maxHeadBytes, request.isHead);
    this.request = request.head;
    this.requestBody = request.body;
    const { bodyPieces } = request;
    this.isSent = bodyPieces === undefined;
    this.#hasTimeout = bodyPieces === undefined && !request.waitsForHead;
    this.sendBody = bodyPieces && ((sink) => void this.#sendPieces(bodyPieces, sink));
    this.#mayRepeat = request.mayRepeat;
    this.#scope = scope;
    this.#settle = settle;
    this.#removeAbort = whenAborted(signal, () => this.#fail(abortError(signal)));
    if (scope.pool.run(this) === "waiting") scope.waits?.moved(this);
  }

  /** Resolves with the response when its head has arrived. */
  static run(request: WireRequest, scope: ExchangeScope, signal: AbortSignal): Promise<HttpResponse> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) reject(abortError(signal));
      else new Exchange(request, scope, signal, { resolve, reject });
    });
  }

  // The body.

  land(landing: Landing): Promise<void> | undefined {
    if (this.#outcome instanceof Error) return Promise.reject(this.#outcome);
    this.#landing = landing;
    const early = this.#early;
    this.#early = undefined;
    if (early !== undefined && !this.#landEarly(early)) return Promise.reject(this.#outcome);
    if (this.#outcome !== undefined) return undefined;
    return new Promise((resolve, reject) => {
      this.#landed = { resolve, reject };
      this.#receive();
    });
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#receive();
  }

  destroy(reason?: Error): void {
    this.#early = undefined;
    if (!this.complete) this.#fail(reason ?? new Error("the response was dropped"));
  }

  // The call.

  mayRepeat(): boolean {
    return this.#mayRepeat?.() === true;
  }

  onStart(connection: HttpConnection): void {
    this.#connection = connection;
    this.#scope.waits?.delete(this);
    // A request with a body of pieces waits for its sender and for what the peer does with it.
    if (this.#hasTimeout) this.#scope.stalls.moved(this);
  }

  onBytes(paused: boolean): void {
    const { stalls } = this.#scope;
    if (paused) stalls.delete(this);
    else stalls.moved(this);
  }

  onComplete(): void {
    if (this.#outcome !== undefined) return;
    this.#outcome = "complete";
    this.#end();
    this.#landed?.resolve();
  }

  onRefused(error: unknown): void {
    this.#fail(error instanceof Error ? error : new Error(String(error)));
  }

  onBroken(cause: Error | undefined): void {
    this.#fail(cause ?? Object.assign(new Error("the connection was closed"), { code: "ECONNRESET" }));
  }

  onTimeout(): void {
    const what = this.#connection === undefined ? "no connection became free" : "nothing moved";
    this.#fail(Object.assign(new Error(what), { code: "ETIMEDOUT" }));
  }

  // The reader.

  protected parseHead(text: string): ResponseHead {
    return new ResponseHead(text);
  }

  protected onHead(head: ResponseHead): void {
    this.#settle!.resolve({ status: head.status, head, body: this });
    this.#settle = undefined;
  }

  protected override get isReceiving(): boolean {
    return this.#landing !== undefined && !this.#isPaused;
  }

  protected bodyRoom(): Buffer | undefined {
    return this.#landing?.room();
  }

  protected bodyLanded(bytes: number): boolean {
    this.#landing?.landed(bytes);
    return !this.#isPaused;
  }

  protected keep(bytes: Buffer): void {
    if (this.#outcome !== undefined) return;
    this.#early ??= [];
    this.#early.push(Buffer.from(bytes));
  }

  /** Returns whether the landing took the bytes. */
  #landEarly(early: readonly Buffer[]): boolean {
    try {
      for (const bytes of early) {
        for (let at = 0; at < bytes.length && this.#landing !== undefined; ) {
          const copied = bytes.copy(this.#landing.room(), 0, at);
          at += copied;
          this.#landing.landed(copied);
        }
      }
    } catch (error) {
      if (this.#outcome === "complete") this.#outcome = error as Error;
      else this.onRefused(error);
    }
    return !(this.#outcome instanceof Error);
  }

  /** Sends a body piece by piece, with some of them on their way at a time. Ends without an error when the exchange has ended. */
  async #sendPieces(pieces: BodyPieces, sink: BodySink): Promise<void> {
    let pendingBytes = 0;
    let failure: Error | undefined;
    try {
      for await (const piece of pieces) {
        if (this.#outcome !== undefined) return;
        const pieceBytes = piece.length;
        pendingBytes += pieceBytes;
        sink.write(piece, (error) => {
          pendingBytes -= pieceBytes;
          failure ??= error ?? undefined;
          if (failure === undefined) pieces.taken?.(piece);
          if (pendingBytes <= PENDING_BYTES || failure !== undefined) this.#resumeSending?.();
        });
        while (pendingBytes > PENDING_BYTES && failure === undefined && this.#outcome === undefined) {
          await new Promise<void>((resolve) => {
            this.#resumeSending = resolve;
          });
        }
        if (this.#outcome !== undefined) return;
        if (failure !== undefined) throw failure;
      }
      this.isSent = true;
    } catch (error) {
      this.#fail(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #receive(): void {
    if (!this.isReceiving || this.#outcome !== undefined) return;
    this.#scope.stalls.moved(this);
    this.#connection?.resume(this);
  }

  #fail(error: Error): void {
    if (this.#outcome !== undefined) return;
    this.#outcome = error;
    this.#early = undefined;
    this.#landing = undefined;
    this.#end();
    if (this.#connection === undefined) this.#scope.pool.forget(this);
    else this.#connection.drop(this);
    this.#settle?.reject(error);
    this.#settle = undefined;
    this.#landed?.reject(error);
  }

  #end(): void {
    this.#resumeSending?.();
    this.#scope.waits?.delete(this);
    this.#scope.stalls.delete(this);
    this.#removeAbort();
  }
}
