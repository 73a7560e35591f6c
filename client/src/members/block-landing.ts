import type { BlockSpan } from "../plan.js";
import type { PinnedObject } from "./pinned-object.js";
import type { AnswerHead, ReadRequest, ReadTarget } from "./transport.js";

/** What a part needs to know of the read that it belongs to. */
export interface LandingPlace {
  /** The one version that all answers are of. */
  readonly pinned: PinnedObject;
  /** The buffer of `bytes` bytes for the part, called once: less than the part's length where the object ends. */
  place(bytes: number): Buffer;
  /** Whether nobody looks at the buffer once the read has failed, so that bytes may still come into it then. Absent: no. */
  readonly mayBeLeft?: boolean;
  /** Called whenever more has landed. */
  onLanded?(): void;
}

/**
 * Where the bytes of one part land, over however many answers it takes: an answer that breaks off leaves what it brought, and
 * the next request asks for the rest, of the same version.
 */
export class BlockLanding implements ReadTarget {
  readonly part: BlockSpan;
  readonly #place: LandingPlace;
  #buffer: Buffer | undefined;
  /** Where the running answer began. */
  #answerStart = 0;
  #landedBytes = 0;
  #takenBytes = 0;

  constructor(part: BlockSpan, place: LandingPlace) {
    this.part = part;
    this.#place = place;
  }

  /** Bytes at the part's beginning that are there. */
  get landedBytes(): number {
    return this.#landedBytes;
  }

  /** Whether nothing is left to ask for. */
  get complete(): boolean {
    return this.#buffer !== undefined && this.#landedBytes === this.#buffer.length;
  }

  /** Whether a read that fails need not wait until nothing writes into its buffer any more. */
  get mayBeLeft(): boolean {
    return this.#place.mayBeLeft === true;
  }

  get url(): string {
    return this.#place.pinned.url;
  }

  /** Empty while it isn't known. */
  get version(): string {
    return this.#place.pinned.version;
  }

  /** The request for what is still missing; the answer to it is the running one from here on. */
  nextRequest(): ReadRequest {
    this.#answerStart = this.#landedBytes;
    const { url, version } = this.#place.pinned;
    const { offset, length } = this.part;
    return { url, offset: offset + this.#landedBytes, length: length - this.#landedBytes, version };
  }

  open(head: AnswerHead): Buffer {
    const { offset, length } = this.part;
    this.#place.pinned.admit(head, offset);
    this.#buffer ??= this.#place.place(Math.min(length, head.objectSize - offset));
    return this.#buffer.subarray(this.#answerStart);
  }

  landed(bytes: number): void {
    this.#landedBytes = this.#answerStart + bytes;
    this.#place.onLanded?.();
  }

  /** What landed since it was last called, for a reader that doesn't wait for the whole; undefined: nothing. */
  take(): Buffer | undefined {
    if (this.#buffer === undefined || this.#takenBytes === this.#landedBytes) return undefined;
    const piece = this.#buffer.subarray(this.#takenBytes, this.#landedBytes);
    this.#takenBytes = this.#landedBytes;
    return piece;
  }

  /** Forgets the bytes of the running answer, which turned out wrong. False: some have been taken already, so the read must fail. */
  takeBack(): boolean {
    const untouched = this.#takenBytes <= this.#answerStart;
    this.#landedBytes = Math.max(this.#answerStart, this.#takenBytes);
    return untouched;
  }
}
