import { CacheError, type ReadRangeResponse } from "@frontcache/proto";
import type { ReadTarget } from "../transport.js";

/** Copies the messages of one answer to where they belong, and accepts exactly the bytes that belong there. */
export class AnswerWriter {
  readonly #target: ReadTarget;
  /** The answer's name in errors. */
  readonly #subject: string;
  #buffer: Buffer | undefined;
  #writtenBytes = 0;

  constructor(target: ReadTarget, subject: string) {
    this.#target = target;
    this.#subject = subject;
  }

  /** Throws what the target has against the head, or INTERNAL when the message brings more than was asked for. */
  write({ data, version, objectSize }: ReadRangeResponse): void {
    this.#buffer ??= this.#target.open({ version, objectSize });
    if (data.length === 0) return;
    const end = this.#writtenBytes + data.length;
    if (end > this.#buffer.length) throw this.#wrong(`more than the ${this.#buffer.length} bytes asked for`);
    this.#buffer.set(data, this.#writtenBytes);
    this.#writtenBytes = end;
    this.#target.landed(end);
  }

  /** The answer came to its end in good order. Throws INTERNAL when bytes are missing. */
  end(): void {
    if (this.#buffer === undefined) throw this.#wrong("nothing at all");
    const { length } = this.#buffer;
    if (this.#writtenBytes < length) throw this.#wrong(`${this.#writtenBytes} bytes instead of ${length}`);
  }

  #wrong(what: string): CacheError {
    return new CacheError("INTERNAL", `${this.#subject}: the member sent ${what}`);
  }
}
