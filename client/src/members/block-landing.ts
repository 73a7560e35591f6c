import { CacheError, outOfRange } from "@frontcache/proto";
import type { AnswerHead, AnswerSource, ReadRequest, ReadTarget } from "./ports.js";

/** The range of an object that lies in one block; one request reads it. */
export interface BlockSpan {
  /** Where its block begins in the object; the ring is asked with it. */
  readonly blockOffset: number;
  /** First byte, counted from the object's beginning. */
  readonly offset: number;
  /** Bytes, at least 1. */
  readonly length: number;
}

/** One version of an object. All answers of one read must be of it. The first answer settles what the caller left open. */
export class PinnedObject {
  readonly url: string;
  #version: string;
  #objectSize: number | undefined;

  /** `version` empty: the first answer's. */
  constructor(url: string, version: string) {
    this.url = url;
    this.#version = version;
  }

  /** Empty while it isn't known. */
  get version(): string {
    return this.#version;
  }

  /** Undefined before the first answer. */
  get objectSize(): number | undefined {
    return this.#objectSize;
  }

  /**
   * Checks the head of an answer that begins at `offset`, and learns from the first one. Throws OUT_OF_RANGE when the object
   * ends before that, INTERNAL when the answer is of another version or size than was asked for or seen.
   */
  check({ version, objectSize }: AnswerHead, offset: number): void {
    if (version === "") throw this.#broken(offset, "the answer names no version");
    if (!Number.isSafeInteger(objectSize) || objectSize < 0) {
      throw this.#broken(offset, `the answer names ${objectSize} bytes as the object's size`);
    }
    if (this.#version !== "" && version !== this.#version) {
      throw this.#broken(offset, `version ${this.#version} was requested, the answer is of version ${version}`);
    }
    if (this.#objectSize !== undefined && objectSize !== this.#objectSize) {
      throw this.#broken(offset, `one answer names ${this.#objectSize} bytes as the object's size, another ${objectSize}`);
    }
    this.#version = version;
    this.#objectSize = objectSize;
    if (offset >= objectSize) throw outOfRange(this.url, offset, objectSize);
  }

  #broken(offset: number, what: string): CacheError {
    return new CacheError("INTERNAL", `${this.url} at offset ${offset}: ${what}`);
  }
}

/**
 * The account of the bytes that one block's read has received: an interrupted answer leaves what it brought, and the next
 * request asks for the rest, of the same version. Where the bytes go is its subclasses' business.
 */
export abstract class BlockLanding implements ReadTarget {
  readonly span: BlockSpan;
  readonly pinned: PinnedObject;
  /** Bytes received before the running answer. */
  #answerStart = 0;
  #landedBytes = 0;
  #totalBytes: number | undefined;

  constructor(span: BlockSpan, pinned: PinnedObject) {
    this.span = span;
    this.pinned = pinned;
  }

  /** Bytes at the span's beginning that have been received. */
  get landedBytes(): number {
    return this.#landedBytes;
  }

  /** Whether no byte is missing. */
  get complete(): boolean {
    return this.#landedBytes === this.#totalBytes;
  }

  nextRequest(): ReadRequest {
    this.#answerStart = this.#landedBytes;
    const { url, version } = this.pinned;
    const { offset, length } = this.span;
    const rest = { url, offset: offset + this.#landedBytes, length: length - this.#landedBytes, version };
    return this.#totalBytes === undefined ? rest : { ...rest, resumed: true };
  }

  open(head: AnswerHead, _source: AnswerSource): void {
    const { offset, length } = this.span;
    this.pinned.check(head, offset);
    if (this.#totalBytes !== undefined) return;
    this.#totalBytes = Math.min(length, head.objectSize - offset);
    this.begin(this.#totalBytes);
  }

  abstract room(): Buffer;

  landed(bytes: number): boolean {
    this.#landedBytes += bytes;
    return true;
  }

  /** Called once, with the number of bytes that the whole read brings. */
  protected abstract begin(totalBytes: number): void;

  /** Forgets the bytes of the running answer behind the first `keptBytes` of the span: the answer turned out wrong. */
  protected forget(keptBytes: number): void {
    this.#landedBytes = Math.max(this.#answerStart, keptBytes);
  }

  /** Whether the first `bytes` of the span were received before the running answer. */
  protected isBeforeAnswer(bytes: number): boolean {
    return bytes <= this.#answerStart;
  }
}

/** What a block needs to know of the read that it belongs to. */
export interface BufferPlace {
  /** The one version that all answers are of. */
  readonly pinned: PinnedObject;
  /** The buffer of `bytes` bytes for the block's span, called once: less than the span's length where the object ends. */
  place(bytes: number): Buffer;
  /** Whether nobody looks at the buffer after the read has failed, so that bytes may still come into it then. Absent: no. */
  readonly mayBeLeft?: boolean;
  /** Called whenever more has landed. */
  onLanded?(): void;
}

/** The most that is received at a time, so that whoever waits for the first bytes of a block gets them soon. */
const READ_BYTES = 4 << 20;

/** A block's read into one buffer. */
export class BufferLanding extends BlockLanding {
  readonly #place: BufferPlace;
  #buffer: Buffer | undefined;
  #takenBytes = 0;

  constructor(span: BlockSpan, place: BufferPlace) {
    super(span, place.pinned);
    this.#place = place;
  }

  /** Whether a read that fails need not wait until nothing writes into its buffer any more. */
  get mayBeLeft(): boolean {
    return this.#place.mayBeLeft === true;
  }

  /** Memory for all bytes that are missing. The answer must have been opened. */
  get rest(): Buffer {
    return this.#buffer!.subarray(this.landedBytes);
  }

  room(): Buffer {
    return this.#buffer!.subarray(this.landedBytes, this.landedBytes + READ_BYTES);
  }

  override landed(bytes: number): boolean {
    super.landed(bytes);
    this.#place.onLanded?.();
    return true;
  }

  /** What landed since the last call, for a reader that doesn't wait for the whole; undefined: nothing. */
  take(): Buffer | undefined {
    if (this.#buffer === undefined || this.#takenBytes === this.landedBytes) return undefined;
    const piece = this.#buffer.subarray(this.#takenBytes, this.landedBytes);
    this.#takenBytes = this.landedBytes;
    return piece;
  }

  /** Forgets the bytes of the running answer, which turned out wrong. False: some have been taken already, the read must fail. */
  takeBack(): boolean {
    const isUntouched = this.isBeforeAnswer(this.#takenBytes);
    this.forget(this.#takenBytes);
    return isUntouched;
  }

  protected begin(totalBytes: number): void {
    this.#buffer = this.#place.place(totalBytes);
  }
}
