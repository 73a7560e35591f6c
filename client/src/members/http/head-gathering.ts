import { type AnswerHeading, MAX_HEAD_BYTES, parseHead } from "./answer-head.js";
import { Unintelligible } from "./unintelligible.js";

const BLANK_LINE = "\r\n\r\n";
const BEGINNING = Buffer.from("HTTP/1.1 ");

/** A head, with how many of the bytes that completed it belong to it. */
export interface WholeHead {
  readonly heading: AnswerHeading;
  readonly headBytes: number;
}

/** Gathers a head out of whatever pieces it comes in; mostly it is one, which is parsed where it lies. */
export class HeadGathering {
  #gathered: Buffer | undefined;
  #gatheredBytes = 0;

  /**
   * Takes the next bytes, which are not kept. Returns the head once it is whole; undefined: more is needed. Throws
   * Unintelligible for a head that is none, or too long.
   */
  take(bytes: Buffer): WholeHead | undefined {
    if (this.#gathered === undefined) {
      const end = bytes.indexOf(BLANK_LINE, 0, "latin1");
      if (end >= 0) return { heading: parse(bytes, end), headBytes: end + BLANK_LINE.length };
    }
    return this.#gather(bytes);
  }

  #gather(bytes: Buffer): WholeHead | undefined {
    this.#gathered ??= Buffer.allocUnsafe(MAX_HEAD_BYTES);
    const before = this.#gatheredBytes;
    this.#gatheredBytes += bytes.copy(this.#gathered, before);
    const gathered = this.#gathered.subarray(0, this.#gatheredBytes);
    // What is no head may never come to a blank line: it is refused by its first bytes.
    if (before < BEGINNING.length && !beginsAlike(gathered)) throw new Unintelligible("no status line of HTTP/1.1");
    // The blank line may have begun with the last three bytes of what was there.
    const end = gathered.indexOf(BLANK_LINE, Math.max(0, before - 3), "latin1");
    if (end >= 0) return { heading: parse(gathered, end), headBytes: end + BLANK_LINE.length - before };
    if (this.#gatheredBytes === MAX_HEAD_BYTES) throw tooLong();
    return undefined;
  }
}

function beginsAlike(bytes: Buffer): boolean {
  const length = Math.min(bytes.length, BEGINNING.length);
  return bytes.compare(BEGINNING, 0, length, 0, length) === 0;
}

function parse(bytes: Buffer, end: number): AnswerHeading {
  if (end + BLANK_LINE.length > MAX_HEAD_BYTES) throw tooLong();
  return parseHead(bytes.toString("latin1", 0, end));
}

function tooLong(): Unintelligible {
  return new Unintelligible(`a head of more than ${MAX_HEAD_BYTES} bytes`);
}
