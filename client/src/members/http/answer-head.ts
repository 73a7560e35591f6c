import { Unintelligible } from "./unintelligible.js";

/** The longest head that is read, its blank line included. A gateway's have about 400 bytes. */
export const MAX_HEAD_BYTES = 16 << 10;

/** What a gateway's answer begins with, checked as far as one can without knowing the request. */
export interface AnswerHeading {
  /** 200 to 599. */
  readonly status: number;
  /** Bytes of the body. */
  readonly contentLength: number;
  /** Verbatim; absent: no such header. */
  readonly contentRange?: string;
  readonly etag?: string;
  /** Whether another request may follow on the connection. */
  readonly keepAlive: boolean;
}

const STATUS_LINE = /^HTTP\/1\.1 ([2-5]\d\d) [\t\x20-\x7e\x80-\xff]*$/;
const NAME = /^[!#$%&'*+.^_`|~0-9a-z-]+$/;
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
/** Fifteen digits are a petabyte, and exact as a number. */
const LENGTH = /^\d{1,15}$/;

/**
 * Parses a head, decoded as Latin-1, from its first byte to the end of its last header; the blank line is cut off. Strict: the
 * one form of RFC 9112 that gateways use is taken, anything else is Unintelligible. That leaves out what leaves more than one
 * way to tell where the body ends: Transfer-Encoding, several lengths, folded lines, line ends other than CRLF, interim answers.
 */
export function parseHead(text: string): AnswerHeading {
  const lineEnd = text.indexOf("\r\n");
  const status = STATUS_LINE.exec(lineEnd < 0 ? text : text.slice(0, lineEnd))?.[1];
  if (status === undefined) throw new Unintelligible("no status line of HTTP/1.1");
  const known = new KnownHeaders();
  for (let at = lineEnd < 0 ? text.length : lineEnd + 2; at < text.length; ) {
    const next = text.indexOf("\r\n", at);
    const end = next < 0 ? text.length : next;
    known.readLine(text, at, end);
    at = end + 2;
  }
  return known.heading(Number(status));
}

/** The headers that matter, as they are found. */
class KnownHeaders {
  #contentLength: number | undefined;
  #contentRange: string | undefined;
  #etag: string | undefined;
  #keepAlive = true;

  readLine(text: string, start: number, end: number): void {
    const colon = text.indexOf(":", start);
    const name = colon < 0 || colon >= end ? "" : text.slice(start, colon).toLowerCase();
    if (!NAME.test(name)) throw new Unintelligible("a line that is no header");
    const value = trimmed(text, colon + 1, end);
    if (!VALUE.test(value)) throw new Unintelligible(`control characters in its ${name}`);
    this.#read(name, value);
  }

  heading(status: number): AnswerHeading {
    if (this.#contentLength === undefined) throw new Unintelligible("no Content-Length");
    return {
      status,
      contentLength: this.#contentLength,
      keepAlive: this.#keepAlive,
      ...(this.#contentRange === undefined ? {} : { contentRange: this.#contentRange }),
      ...(this.#etag === undefined ? {} : { etag: this.#etag }),
    };
  }

  #read(name: string, value: string): void {
    switch (name) {
      case "content-length":
        if (this.#contentLength !== undefined) throw twice(name);
        if (!LENGTH.test(value)) throw new Unintelligible("a Content-Length that is no number");
        this.#contentLength = Number(value);
        break;
      case "content-range":
        if (this.#contentRange !== undefined) throw twice(name);
        this.#contentRange = value;
        break;
      case "etag":
        if (this.#etag !== undefined) throw twice(name);
        this.#etag = value;
        break;
      case "connection":
        if (/(?:^|,)[\t ]*close[\t ]*(?:,|$)/i.test(value)) this.#keepAlive = false;
        break;
      case "transfer-encoding":
      case "content-encoding":
        throw new Unintelligible(`a ${name}`);
    }
  }
}

function twice(name: string): Unintelligible {
  return new Unintelligible(`two of ${name}`);
}

function trimmed(text: string, start: number, end: number): string {
  let [first, last] = [start, end];
  while (first < last && isBlank(text.charCodeAt(first))) first++;
  while (first < last && isBlank(text.charCodeAt(last - 1))) last--;
  return text.slice(first, last);
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}
