import { CacheError, outOfRange } from "@frontcache/proto";
import type { AnswerHead, AnswerSource, ReadRequest, ReadTarget } from "./ports.js";

/** The range of an object that lies in one block; one request reads it. */
export interface BlockSpan {
  /** Start of the block in the object, which determines its owner. */
  readonly blockOffset: number;
  /** First byte in the object. */
  readonly offset: number;
  /** Bytes, at least 1. */
  readonly length: number;
}

/** The version and size of an object, equal for all responses of a read. Unknown values are taken from the first response. */
export class PinnedObject {
  readonly url: string;
  #version: string;
  #objectSize: number | undefined;

  /** If `version` is empty, the first response determines it; also the size, if it is undefined. */
  constructor(url: string, version: string, objectSize?: number) {
    this.url = url;
    this.#version = version;
    this.#objectSize = objectSize;
  }

  /** Empty while it is unknown. */
  get version(): string {
    return this.#version;
  }

  /** Undefined before the first response. */
  get objectSize(): number | undefined {
    return this.#objectSize;
  }

  /**
   * Checks the header of a response that begins at `offset`; the first one determines unknown values. Throws OUT_OF_RANGE if the
   * object ends before it, INTERNAL if the response has another version or size than requested or known.
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
 * Counts the received bytes of one block's read. After an interrupted response its bytes are kept, and the next
 * request asks for the rest, of the same version. Subclasses decide where the bytes are stored.
 */
export abstract class BlockLanding implements ReadTarget {
  readonly span: BlockSpan;
  readonly pinned: PinnedObject;
  /** Bytes received before the current response. */
  #answerStart = 0;
  #landedBytes = 0;
  #totalBytes: number | undefined;
  #isRequested = false;

  constructor(span: BlockSpan, pinned: PinnedObject) {
    this.span = span;
    this.pinned = pinned;
  }

  /** Received bytes at the start of the span. */
  get landedBytes(): number {
    return this.#landedBytes;
  }

  /** Whether all bytes were received. */
  get complete(): boolean {
    return this.#landedBytes === this.#totalBytes;
  }

  nextRequest(): ReadRequest {
    this.#answerStart = this.#landedBytes;
    const { url, version } = this.pinned;
    const { offset, length } = this.span;
    const rest = { url, offset: offset + this.#landedBytes, length: length - this.#landedBytes, version };
    return this.#isRequested ? { ...rest, repeated: true } : rest;
  }

  sent(): void {
    this.#isRequested = true;
  }

  /** Whether a request was sent. */
  get isRequested(): boolean {
    return this.#isRequested;
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

  /** Called once with the number of bytes of the whole read. */
  protected abstract begin(totalBytes: number): void;

  /** Discards the bytes of the current response after the first `keptBytes` of the span, because the response was invalid. */
  protected forget(keptBytes: number): void {
    this.#landedBytes = Math.max(this.#answerStart, keptBytes);
  }

  /** Returns whether the first `bytes` of the span were received before the current response. */
  protected isBeforeAnswer(bytes: number): boolean {
    return bytes <= this.#answerStart;
  }
}

/** The part of a read that its blocks share. */
export interface BufferPlace {
  /** The version of all responses. */
  readonly pinned: PinnedObject;
  /**
   * Returns the buffer of `bytes` bytes for the block's span; called once. `bytes` is less than the span if the object ends
   * before.
   */
  place(bytes: number): Buffer;
  /** Whether the buffer is unused after a failed read, so that bytes may still be written into it. Absent: no. */
  readonly mayBeLeft?: boolean;
  /** Called when bytes were received. */
  onLanded?(): void;
}

/** Maximum bytes received at a time, so that consumers get the first bytes of a block soon. */
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

  /** Whether a failed read may end while the buffer is still being written. */
  get mayBeLeft(): boolean {
    return this.#place.mayBeLeft === true;
  }

  /** The buffer of all missing bytes. The response must have been opened. */
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

  /** Returns bytes received since the last call, for consumers that do not wait for the whole; undefined: none. */
  take(): Buffer | undefined {
    if (this.#buffer === undefined || this.#takenBytes === this.landedBytes) return undefined;
    const piece = this.#buffer.subarray(this.#takenBytes, Math.min(this.landedBytes, this.#takenBytes + READ_BYTES));
    this.#takenBytes += piece.length;
    return piece;
  }

  /**
   * Discards the bytes of the current, invalid response. Returns false if some were consumed already; then the read must fail.
   */
  takeBack(): boolean {
    const isUntouched = this.isBeforeAnswer(this.#takenBytes);
    this.forget(this.#takenBytes);
    return isUntouched;
  }

  protected begin(totalBytes: number): void {
    this.#buffer = this.#place.place(totalBytes);
  }
}
