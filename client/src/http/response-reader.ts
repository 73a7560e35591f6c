import { ChunkedBody } from "./chunked-body.js";
import { HeadGathering, type HeadText, headAt, InvalidResponse, type ResponseFraming } from "./response-head.js";

/** A head that was recognised by an earlier one, and its bytes with the blank line. */
export interface RepeatedHead<Head> {
  readonly head: Head;
  readonly headBytes: number;
}

/** Interim responses (1xx) before the final one. More are invalid, because a sender of nothing else would never end. */
const MAX_INTERIM = 16;

/**
 * Receives one response: a head in any pieces, then a body of known length, in chunks, or up to the end of the connection.
 *
 * A body of known length needs no copy: `room` is the buffer of its next bytes, so the socket can receive them there. Bytes that
 * arrive with the head, and chunks, are copied. Errors are thrown; the connection must then be closed, because the end of the
 * response is unknown. Subclasses parse the head and own the memory of the body.
 */
export abstract class ResponseReader<Head extends ResponseFraming> {
  readonly #maxHeadBytes: number;
  readonly #isBodyless: boolean;
  #gathering: HeadGathering | undefined;
  #interim = 0;
  #head: Head | undefined;
  /** Bytes that are missing of a body without chunks; Infinity: it ends with the connection. */
  #leftBytes = 0;
  #chunks: ChunkedBody | undefined;
  #hasSurplus = false;
  #begun = false;
  #complete = false;

  /** `isBodyless`: the request is a HEAD, so the response has no body whatever its head says. */
  constructor(maxHeadBytes: number, isBodyless = false) {
    this.#maxHeadBytes = maxHeadBytes;
    this.#isBodyless = isBodyless;
  }

  /** Parses the text of a head. Throws InvalidResponse. */
  protected abstract parseHead(text: string): Head;
  /**
   * Parses a whole head within the first `end` bytes, if it resembles an earlier one. Undefined: it does not, so that `parseHead` parses
   * it.
   */
  protected repeatedHead(_bytes: Buffer, _end: number): RepeatedHead<Head> | undefined {
    return undefined;
  }
  /** Called with the head of the final response, before its body. Throws to reject the response. */
  protected abstract onHead(head: Head): void;
  /** Returns memory for the next bytes of the body, never empty; undefined: none yet, so they are passed to `keep`. */
  protected abstract bodyRoom(): Buffer | undefined;
  /** The first `bytes` of the room were received. Returns whether to receive more now. Throws to end the response. */
  protected abstract bodyLanded(bytes: number): boolean;
  /** Copies bytes for which there is no room yet. */
  protected abstract keep(bytes: Buffer): void;
  /** Whether bytes of the body may be received now. */
  protected get isReceiving(): boolean {
    return true;
  }
  /** Called once when the last byte was received. Throws to reject the response. */
  protected onEnd(_head: Head): void {}

  /** Whether any byte has arrived. */
  get begun(): boolean {
    return this.#begun;
  }

  /** Whether the last byte has arrived. */
  get complete(): boolean {
    return this.#complete;
  }

  /** Whether another request may follow on its connection after it is complete. */
  get keepAlive(): boolean {
    return this.#head?.keepAlive === true && this.#leftBytes === 0 && !this.#hasSurplus;
  }

  /** The buffer for the next bytes, followed by `landed`; undefined: it is unknown, so pass the bytes to `take`. */
  room(): Buffer | undefined {
    const leftBytes = this.#leftBytes;
    if (leftBytes === 0) return undefined;
    const room = this.bodyRoom();
    return room !== undefined && room.length > leftBytes ? room.subarray(0, leftBytes) : room;
  }

  /** Call when the first `bytes` of the room were received. Returns whether to receive more. */
  landed(bytes: number): boolean {
    this.#leftBytes -= bytes;
    const more = this.bodyLanded(bytes);
    if (this.#leftBytes > 0) return more;
    this.#finish();
    return true;
  }

  /** Bytes of a body without chunks that are missing; 0: none, or it has not begun. */
  get missingBytes(): number {
    return Number.isFinite(this.#leftBytes) ? this.#leftBytes : 0;
  }

  /** Call when `bytes` of the body were received elsewhere, at most `missingBytes`. */
  drained(bytes: number): void {
    this.#leftBytes -= bytes;
    if (this.#leftBytes === 0) this.#finish();
  }

  /** Takes the first `end` bytes of a buffer, which are not kept. Returns whether to receive more. */
  take(bytes: Buffer, end = bytes.length): boolean {
    this.#begun = true;
    let at = 0;
    const isBeginning = this.#head === undefined && this.#gathering === undefined;
    const repeated = isBeginning ? this.repeatedHead(bytes, end) : undefined;
    if (repeated !== undefined) {
      at = repeated.headBytes;
      this.#open(repeated.head, end - at);
    }
    if (this.#head === undefined || this.#chunks !== undefined) return this.#takeAny(bytes.subarray(at, end));
    return this.#complete || this.#takePlain(bytes, at, end);
  }

  /** Takes bytes with the rest of a head, or of a body in any form. */
  #takeAny(bytes: Buffer): boolean {
    let at = 0;
    while (this.#head === undefined) {
      const head = this.#nextHead(bytes, at);
      if (head === undefined) return true;
      at += head.headBytes;
      this.#open(this.parseHead(head.text), bytes.length - at);
    }
    if (this.#complete) return true;
    return this.#chunks === undefined ? this.#takePlain(bytes, at, bytes.length) : this.#takeChunks(this.#chunks, bytes, at);
  }

  /** The connection has ended without an error. Returns whether the response is complete by that. */
  ended(): boolean {
    if (this.#leftBytes !== Number.POSITIVE_INFINITY) return false;
    this.#finish();
    return true;
  }

  #nextHead(bytes: Buffer, start: number): HeadText | undefined {
    // Usually a head arrives in one piece, which is parsed in place.
    if (this.#gathering === undefined) {
      const head = headAt(bytes, start, this.#maxHeadBytes);
      if (head !== undefined || start === bytes.length) return head;
      this.#gathering = new HeadGathering(this.#maxHeadBytes);
    }
    const head = this.#gathering.take(bytes.subarray(start));
    if (head !== undefined) this.#gathering = undefined;
    return head;
  }

  /** `restBytes`: the bytes after the head that have arrived. */
  #open(head: Head, restBytes: number): void {
    const { status, contentLength, isChunked } = head;
    if (status < 200) {
      if (++this.#interim > MAX_INTERIM) throw new InvalidResponse("more interim responses than any server sends");
      return;
    }
    if (this.#isBodyless || status === 204 || status === 304) {
      // Some servers send a body where HTTP forbids one. It ends the use of the connection, not the response.
      this.#hasSurplus = restBytes > 0;
      this.onHead(head);
      this.#head = head;
      this.#finish();
      return;
    }
    if (contentLength !== undefined && restBytes > contentLength) throw new InvalidResponse("more bytes than it promised");
    this.onHead(head);
    this.#head = head;
    if (isChunked) this.#chunks = new ChunkedBody();
    else this.#leftBytes = contentLength ?? Number.POSITIVE_INFINITY;
    if (contentLength === 0) this.#finish();
  }

  #takePlain(bytes: Buffer, start: number, end: number): boolean {
    if (end - start > this.#leftBytes) throw new InvalidResponse("more bytes than it promised");
    let more = this.isReceiving;
    for (let at = start; at < end; ) {
      const room = this.bodyRoom();
      if (room === undefined) return this.#keepPlain(bytes.subarray(at, end));
      const copied = bytes.copy(room, 0, at, end);
      at += copied;
      more = this.landed(copied);
    }
    return more;
  }

  #keepPlain(bytes: Buffer): boolean {
    this.keep(bytes);
    this.#leftBytes -= bytes.length;
    if (this.#leftBytes > 0) return false;
    this.#finish();
    return true;
  }

  #takeChunks(chunks: ChunkedBody, bytes: Buffer, start: number): boolean {
    let more = this.isReceiving;
    const end = chunks.take(bytes, start, (data) => {
      for (let at = 0; at < data.length; ) {
        const room = this.bodyRoom();
        if (room === undefined) {
          this.keep(data.subarray(at));
          more = false;
          return;
        }
        const copied = data.copy(room, 0, at);
        at += copied;
        more = this.bodyLanded(copied);
      }
    });
    if (!chunks.complete) return more;
    if (end < bytes.length) throw new InvalidResponse("more bytes than it promised");
    this.#finish();
    return true;
  }

  #finish(): void {
    this.#complete = true;
    this.onEnd(this.#head!);
  }
}
