import { CacheError, outOfRange } from "@frontcache/proto";
import type { AnswerHead } from "./transport.js";

/** One version of an object, as all answers of one read must be of it. The first answer settles what the caller left open. */
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
  admit({ version, objectSize }: AnswerHead, offset: number): void {
    if (version === "") throw this.#broken(offset, "the answer names no version");
    if (!Number.isSafeInteger(objectSize) || objectSize < 0)
      throw this.#broken(offset, `the answer names ${objectSize} bytes as size`);
    if (this.#version !== "" && version !== this.#version) {
      throw this.#broken(offset, `asked for version ${this.#version}, the answer is of version ${version}`);
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
