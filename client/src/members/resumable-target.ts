import { CacheError } from "@frontcache/proto";
import type { AnswerHead, ReadRequest, ReadTarget } from "./transport.js";

/** A target for two answers in turn: where the first one breaks off, the second one goes on. */
export class ResumableTarget implements ReadTarget {
  readonly #request: ReadRequest;
  readonly #target: ReadTarget;
  #head: AnswerHead | undefined;
  #buffer: Buffer | undefined;
  /** Where the running answer began. */
  #answerStart = 0;
  #landedBytes = 0;

  constructor(request: ReadRequest, target: ReadTarget) {
    this.#request = request;
    this.#target = target;
  }

  /** Whether an answer has begun. */
  get opened(): boolean {
    return this.#buffer !== undefined;
  }

  /** The request for the bytes that are still missing; the answer to it is the running one from here on. */
  rest(): ReadRequest {
    this.#answerStart = this.#landedBytes;
    const { url, offset, length, version } = this.#request;
    const landed = this.#landedBytes;
    return { url, offset: offset + landed, length: length - landed, version: this.#head?.version ?? version };
  }

  open(head: AnswerHead): Buffer {
    if (this.#buffer === undefined) {
      this.#buffer = this.#target.open(head);
      this.#head = head;
    } else if (head.version !== this.#head?.version || head.objectSize !== this.#head.objectSize) {
      const { url } = this.#request;
      throw new CacheError("INTERNAL", `${url}: two answers of one member for one version are of two objects`);
    }
    return this.#answerStart === 0 ? this.#buffer : this.#buffer.subarray(this.#answerStart);
  }

  landed(bytes: number): void {
    this.#landedBytes = this.#answerStart + bytes;
    this.#target.landed(this.#landedBytes);
  }
}
