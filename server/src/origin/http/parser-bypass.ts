import { type Landing, landCopy } from "../origin.js";

/** What a bypass has its connection do. */
export interface BypassEnds {
  /** Reads on: it is known now where the bytes belong. */
  readonly readOn: () => void;
  /** The last byte has landed. */
  readonly onComplete: () => void;
}

/**
 * The body of one answer on its way past the HTTP parser, which would copy it into new memory: from the socket to where it is
 * to be, by the kernel's own writes.
 */
export class ParserBypass {
  readonly #ends: BypassEnds;
  /** What came before it was landed: with the head, as a rule. */
  readonly #early: Buffer[] = [];
  #earlyBytes = 0;
  #landedBytes = 0;
  #landing: Landing | undefined;

  constructor(
    /** Bytes of the body, more than 0. */
    readonly length: number,
    ends: BypassEnds,
  ) {
    this.#ends = ends;
  }

  /** Whether bytes may come: it is known where they belong. */
  get isLanding(): boolean {
    return this.#landing !== undefined;
  }

  /** Where the next bytes belong, to be told by `landed`; undefined: they are to be handed to `take`. */
  room(): Buffer | undefined {
    const left = this.length - this.#landedBytes;
    return left === 0 ? undefined : this.#landing?.room().subarray(0, left);
  }

  /** The first `bytes` of the room are filled. */
  landed(bytes: number): void {
    this.#landedBytes += bytes;
    this.#landing?.landed(bytes);
    if (this.#landedBytes === this.length) this.#ends.onComplete();
  }

  /** Takes bytes that were received elsewhere and are not kept; returns how many of them are the body's. */
  take(bytes: Buffer): number {
    const mine = bytes.subarray(0, this.length - this.#landedBytes - this.#earlyBytes);
    if (this.isLanding) this.#copy(mine);
    else {
      this.#early.push(Buffer.from(mine));
      this.#earlyBytes += mine.length;
    }
    return mine.length;
  }

  /** Brings all bytes where they belong; once. */
  land(landing: Landing): void {
    this.#landing = landing;
    this.#earlyBytes = 0;
    for (const bytes of this.#early.splice(0)) this.#copy(bytes);
    this.#ends.readOn();
  }

  /** Nothing is written into the landing's room any more. */
  cut(): void {
    this.#landing = undefined;
  }

  #copy(bytes: Buffer): void {
    const counting = { room: () => this.room()!, landed: (count: number) => this.landed(count) };
    landCopy(bytes, counting, () => !this.isLanding);
  }
}
