import { hash } from "node:crypto";
import type { BodyPieces } from "@frontcache/client/http";
import type { CacheError } from "@frontcache/proto";
import { LinkedAbort } from "@frontcache/proto/runtime";
import { systemClock } from "../../runtime/clock.js";
import type { Header } from "../../security/signatures/signer.js";
import { NoAnswer } from "../checked-answer.js";
import { type BodyTrailer, NotWritten, type StreamedBody, type WriteRequest } from "../origin.js";

/** How long a store may take no bytes of a body, and how long it may take to answer after the last one. */
const STALL_MS = 60_000;
/** S3 needs minutes to complete a large multipart upload, or to copy 5 GiB. */
const ANSWER_MS = 15 * 60_000;

/** Bytes of a chunk of a body with a trailer. Stores need at least 8 KiB. */
const CHUNK_BYTES = 1 << 20;

/** Failures of a connection before a byte was sent. */
const UNCONNECTED: ReadonlySet<string> = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH"]);

/** How one write is sent: the form of its body, its timeouts, and whether the store may have all of it. */
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

  /** The headers and the body to send, with the hash to sign. */
  begin(): {
    readonly headers: readonly Header[];
    readonly payloadHash: string;
    readonly body: { body?: Uint8Array; bodyPieces?: BodyPieces; mayRepeat: boolean };
  } {
    const { headers, body, mayRepeat } = this.#request;
    if (body instanceof Uint8Array) {
      this.#isWhole = true;
      this.#wait(ANSWER_MS);
      const sent: Header[] = [...headers, ["content-length", String(body.length)]];
      const bytes = body.length === 0 ? {} : { body };
      return { headers: sent, payloadHash: hash("sha256", body), body: { ...bytes, mayRepeat } };
    }
    const { trailer, length, sha256 } = body;
    const timed = this.#timed(trailer === undefined ? body.pieces : framed(body, trailer));
    const bodyPieces = { [Symbol.asyncIterator]: () => timed, taken: (piece: Uint8Array) => body.pieces.taken?.(piece) };
    if (trailer === undefined) {
      const sent: Header[] = [...headers, ["content-length", String(length)]];
      return { headers: sent, payloadHash: sha256 ?? "UNSIGNED-PAYLOAD", body: { bodyPieces, mayRepeat: false } };
    }
    const encoding = headers.find(([name]) => name === "content-encoding")?.[1];
    const sent: Header[] = [
      ...headers.filter(([name]) => name !== "content-encoding"),
      ["content-encoding", encoding === undefined ? "aws-chunked" : `aws-chunked,${encoding}`],
      ["content-length", String(framedLength(length, trailer))],
      ["x-amz-decoded-content-length", String(length)],
      ["x-amz-trailer", trailer.name],
    ];
    return { headers: sent, payloadHash: "STREAMING-UNSIGNED-PAYLOAD-TRAILER", body: { bodyPieces, mayRepeat: false } };
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
    let held: Uint8Array | undefined;
    for await (const piece of pieces) {
      if (held !== undefined) {
        this.#wait(STALL_MS);
        yield held;
        this.#waitingSinceMs = undefined;
      }
      held = piece;
    }
    this.#isWhole = true;
    this.#wait(ANSWER_MS);
    if (held !== undefined) yield held;
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

/** The form `aws-chunked` of a body, without signatures. */
async function* framed({ pieces, length }: StreamedBody, trailer: BodyTrailer): AsyncGenerator<Uint8Array, void> {
  let [left, inChunk] = [length, 0];
  for await (const piece of pieces) {
    for (let at = 0; at < piece.length; ) {
      let head = "";
      if (inChunk === 0) {
        inChunk = Math.min(CHUNK_BYTES, left);
        head = `${left === length ? "" : "\r\n"}${inChunk.toString(16)}\r\n`;
      }
      if (head !== "") yield Buffer.from(head, "latin1");
      const part = piece.subarray(at, Math.min(piece.length, at + inChunk));
      at += part.length;
      inChunk -= part.length;
      left -= part.length;
      yield part;
    }
  }
  yield Buffer.from(`${length === 0 ? "" : "\r\n"}0\r\n${trailer.name}:${trailer.value()}\r\n\r\n`, "latin1");
}

function framedLength(length: number, { name, valueLength }: BodyTrailer): number {
  const chunks = Math.floor(length / CHUNK_BYTES);
  const rest = length % CHUNK_BYTES;
  const framingOf = (bytes: number): number => bytes.toString(16).length + 4;
  const data = length + chunks * framingOf(CHUNK_BYTES) + (rest === 0 ? 0 : framingOf(rest));
  return data + 3 + name.length + 1 + valueLength + 4;
}

function isUnconnected(error: unknown): boolean {
  for (let each = error; each instanceof Error; each = each.cause as Error) {
    const { code } = each as { code?: unknown };
    if (typeof code === "string" && UNCONNECTED.has(code)) return true;
  }
  return false;
}
