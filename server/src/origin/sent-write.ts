import type { BodyPieces } from "@frontcache/client/http";
import type { CacheError } from "@frontcache/proto";
import { LinkedAbort } from "@frontcache/proto/runtime";
import { systemClock } from "../runtime/clock.js";
import { NoAnswer } from "./checked-answer.js";
import { NotWritten, type WriteRequest } from "./origin.js";

/** How long a store may take no bytes of a body, and how long it may take to answer after the last one. */
const STALL_MS = 60_000;
/** S3 needs minutes to complete a large multipart upload, or to copy 5 GiB. */
const ANSWER_MS = 15 * 60_000;

/** Failures of a connection before a byte was sent. */
const UNCONNECTED: ReadonlySet<string> = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH"]);

/** The body of a request, as the HTTP client takes it. */
export interface SentBody {
  readonly body?: Uint8Array;
  readonly bodyPieces?: BodyPieces;
  readonly mayRepeat: boolean;
}

/** How one write is sent: its timeouts, and whether the store may have all of it. */
export class SentWrite {
  readonly #request: WriteRequest;
  readonly #abort: LinkedAbort;
  #cancelTimer: (() => void) | undefined;
  /** Since when the store is waited for, and for how long. Undefined: it is not. Monotonic milliseconds. */
  #waitingSinceMs: number | undefined;
  #timeoutMs = STALL_MS;
  /** The store may have got the end of the body. */
  #isWhole = false;

  constructor(request: WriteRequest) {
    this.#request = request;
    this.#abort = new LinkedAbort(request.signal);
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** The body to send. `framed`: the form in which the store gets it. Absent: as it is. */
  begin(framed?: Uint8Array | AsyncIterable<Uint8Array>): SentBody {
    const { body, mayRepeat } = this.#request;
    if (body instanceof Uint8Array) {
      const bytes = framed instanceof Uint8Array ? framed : body;
      this.#isWhole = true;
      this.#wait(ANSWER_MS);
      return { ...(bytes.length > 0 && { body: bytes }), mayRepeat };
    }
    const timed = this.#timed(framed === undefined || framed instanceof Uint8Array ? body.pieces : framed);
    return {
      bodyPieces: { [Symbol.asyncIterator]: () => timed, taken: (piece) => body.pieces.taken?.(piece) },
      mayRepeat: false,
    };
  }

  /** The store has answered. */
  answered(): void {
    this.#end();
  }

  /** The error of a write that has failed. NotWritten: the store cannot have taken it. */
  failed(error: CacheError): CacheError {
    this.#end();
    const mayHaveTaken = this.#isWhole && !isUnconnected(error);
    return mayHaveTaken ? error : new NotWritten(error);
  }

  /** The pieces, with a timeout for each, and one for the answer. */
  async *#timed(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
    let previous: Uint8Array | undefined;
    for await (const piece of pieces) {
      if (previous !== undefined) {
        this.#wait(STALL_MS);
        yield previous;
        this.#waitingSinceMs = undefined;
      }
      previous = piece;
    }
    this.#isWhole = true;
    this.#wait(ANSWER_MS);
    if (previous !== undefined) yield previous;
  }

  /** Waits for the store from now on. One timer serves all pieces: it looks at when the wait has begun. */
  #wait(timeoutMs: number): void {
    this.#waitingSinceMs = systemClock.monotonicMs();
    this.#timeoutMs = timeoutMs;
    this.#cancelTimer ??= systemClock.after(STALL_MS, this.#check);
  }

  readonly #check = (): void => {
    const leftMs =
      this.#waitingSinceMs === undefined ? STALL_MS : this.#waitingSinceMs + this.#timeoutMs - systemClock.monotonicMs();
    if (leftMs > 0) this.#cancelTimer = systemClock.after(leftMs, this.#check);
    else this.#abort.abort(new NoAnswer(this.#request.ref, `did not move for ${this.#timeoutMs} ms during a write`));
  };

  #end(): void {
    this.#cancelTimer?.();
    this.#abort.unlink();
  }
}

function isUnconnected(error: unknown): boolean {
  for (let each = error; each instanceof Error; each = each.cause as Error) {
    const { code } = each as { code?: unknown };
    if (typeof code === "string" && UNCONNECTED.has(code)) return true;
  }
  return false;
}
