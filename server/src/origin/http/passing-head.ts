/** A head whose body may pass by the parser. */
export interface PassingHead {
  /** Bytes of the head, its blank line included. */
  readonly headBytes: number;
  /** Bytes of the body. */
  readonly contentLength: number;
  /** The head with another Content-Length. */
  withLength(contentLength: number): Buffer;
}

const BLANK_LINE = "\r\n\r\n";
const BEGINNING = "HTTP/1.1 206 ";

/** Fifteen digits are a petabyte, and exact as a number. */
const CONTENT_LENGTH = /(\r\nContent-Length:[ \t]*)(\d{1,15})(?=[ \t]*\r\n)/i;

/** What may leave a second way to tell where the body ends, or a line with a second meaning: the parser's word counts then. */
const DOUBTFUL = /\r\n(?:transfer-encoding|content-length[\s\S]*\r\ncontent-length|[ \t])|\r(?!\n)|(?<!\r)\n|\0/i;

/**
 * The head that `bytes` begin with, where it is whole and its body's end can be told in one way only: a 206 with one
 * Content-Length, more than what came of the body. Undefined for any other, which is the parser's to understand or refuse;
 * so is what else may be wrong with this one.
 */
export function passingHead(bytes: Buffer): PassingHead | undefined {
  if (bytes.toString("latin1", 0, BEGINNING.length) !== BEGINNING) return undefined;
  const end = bytes.indexOf(BLANK_LINE, 0, "latin1");
  if (end < 0) return undefined;
  const headBytes = end + BLANK_LINE.length;
  const head = bytes.toString("latin1", 0, headBytes);
  const [line, name = "", digits] = CONTENT_LENGTH.exec(head) ?? [];
  const contentLength = Number(digits);
  if (line === undefined || DOUBTFUL.test(head) || contentLength <= bytes.length - headBytes) return undefined;
  const withLength = (length: number): Buffer => Buffer.from(head.replace(line, `${name}${length}`), "latin1");
  return { headBytes, contentLength, withLength };
}
