import { CacheError, type ReadRangeResponse } from "@frontcache/proto";
import type { AnswerHead, AnswerSource, ReadRequest, ReadTarget } from "../ports.js";

/** Copies the messages of one response into its target, and accepts exactly the requested bytes. */
export class AnswerWriter {
  readonly #target: ReadTarget;
  readonly #request: ReadRequest;
  readonly #source: AnswerSource;
  #description: Omit<AnswerHead, "version" | "objectSize"> = {};
  /** Undefined before the first message. */
  #expectedBytes: number | undefined;
  #writtenBytes = 0;

  constructor(target: ReadTarget, request: ReadRequest, source: AnswerSource) {
    this.#target = target;
    this.#request = request;
    this.#source = source;
  }

  /** Records the description of the object in the response's metadata, before the first message. */
  describe(description: Omit<AnswerHead, "version" | "objectSize">): void {
    this.#description = description;
  }

  /**
   * Returns whether to receive more messages. Throws the target's error for a header that it rejects, INTERNAL if the
   * message contains more than requested.
   */
  write({ data, version, objectSize }: ReadRangeResponse): boolean {
    if (this.#expectedBytes === undefined) {
      this.#target.open({ version, objectSize, ...this.#description }, this.#source);
      const { offset, length } = this.#request;
      this.#expectedBytes = Math.min(length, objectSize - offset);
    }
    if (this.#writtenBytes + data.length > this.#expectedBytes) {
      throw this.#wrong(`more than the ${this.#expectedBytes} bytes requested`);
    }
    let more = true;
    for (let at = 0; at < data.length; ) {
      const room = this.#target.room();
      const count = Math.min(room.length, data.length - at);
      room.set(count === data.length ? data : data.subarray(at, at + count));
      at += count;
      this.#writtenBytes += count;
      more = this.#target.landed(count);
    }
    return more || this.#writtenBytes === this.#expectedBytes;
  }

  /** Called at the normal end of the response. Throws INTERNAL if bytes are missing. */
  end(): void {
    if (this.#expectedBytes === undefined) throw this.#wrong("nothing at all");
    if (this.#writtenBytes < this.#expectedBytes) {
      throw this.#wrong(`${this.#writtenBytes} bytes instead of ${this.#expectedBytes}`);
    }
  }

  #wrong(what: string): CacheError {
    const { url, offset } = this.#request;
    return new CacheError("INTERNAL", `${url} at offset ${offset}: the member sent ${what}`);
  }
}
