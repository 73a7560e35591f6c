import { checkHeaderLines, InvalidResponse } from "./response-head.js";

/** The line of a chunk's size with its extensions, which mean nothing here. Twelve digits are 256 TiB. */
const SIZE_LINE =
  /^([0-9A-Fa-f]{1,12})(?:;[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:=(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+|"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"))?)*$/;
/** The longest line of a chunk's size. */
const MAX_SIZE_LINE_BYTES = 1 << 10;
/** The longest trailers, with their line ends. */
const MAX_TRAILER_BYTES = 16 << 10;

/** A recipient that put trailers among the headers would take the body for another one. */
const FRAMING_TRAILER = /\r\n(?:content-length|transfer-encoding):/i;

const CR = 0x0d;
const LF = 0x0a;

/** Decodes a body in chunks of RFC 9112. Its trailers are checked and dropped. */
export class ChunkedBody {
  #state: "size" | "data" | "data end" | "trailers" | "complete" = "size";
  #leftBytes = 0;
  /** The received part of a line. */
  #line = "";
  /** All trailers, each after a line end. */
  #trailers = "";

  /** Whether its last byte has arrived. */
  get complete(): boolean {
    return this.#state === "complete";
  }

  /**
   * Takes the bytes from `start`, and passes on the data among them in pieces, which are not copied. Returns the index after the last
   * byte of the body: less than the length if it is complete before. Throws InvalidResponse.
   */
  take(bytes: Buffer, start: number, onData: (data: Buffer) => void): number {
    let at = start;
    while (at < bytes.length && this.#state !== "complete") {
      if (this.#state === "data") {
        const end = Math.min(bytes.length, at + this.#leftBytes);
        this.#leftBytes -= end - at;
        if (this.#leftBytes === 0) this.#state = "data end";
        onData(bytes.subarray(at, end));
        at = end;
      } else at = this.#takeLine(bytes, at);
    }
    return at;
  }

  #takeLine(bytes: Buffer, start: number): number {
    const lineFeed = bytes.indexOf(LF, start);
    const end = lineFeed < 0 ? bytes.length : lineFeed + 1;
    const maxBytes = this.#state === "trailers" ? MAX_TRAILER_BYTES : MAX_SIZE_LINE_BYTES;
    if (this.#trailers.length + this.#line.length + end - start > maxBytes)
      throw new InvalidResponse("a chunk with too long a line");
    this.#line += bytes.toString("latin1", start, end);
    if (lineFeed < 0) return end;
    if (this.#line.charCodeAt(this.#line.length - 2) !== CR) throw new InvalidResponse("a chunk with a bare line feed");
    const line = this.#line.slice(0, -2);
    this.#line = "";
    this.#onLine(line);
    return end;
  }

  #onLine(line: string): void {
    if (this.#state === "data end") {
      if (line !== "") throw new InvalidResponse("a chunk that is longer than its size");
      this.#state = "size";
    } else if (this.#state === "trailers") {
      if (line !== "") this.#trailers += `\r\n${line}`;
      else {
        checkHeaderLines(this.#trailers);
        if (FRAMING_TRAILER.test(this.#trailers)) throw new InvalidResponse("a trailer about the body's length");
        this.#state = "complete";
      }
    } else {
      const size = SIZE_LINE.exec(line)?.[1];
      if (size === undefined) throw new InvalidResponse("a chunk without a size");
      this.#leftBytes = Number.parseInt(size, 16);
      this.#state = this.#leftBytes === 0 ? "trailers" : "data";
    }
  }
}
