import { Readable } from "node:stream";
import type { HttpBody } from "@frontcache/client/http";

/** The memory that is allocated for chunks at a time. */
const CHUNK_BYTES = 64 << 10;

/**
 * The body of a response as a stream, for callers that know only streams. It holds one chunk: while that is not read, nothing is
 * received.
 */
export class BodyStream extends Readable {
  /** The body itself. Whoever lands it must not read the stream. */
  readonly body: HttpBody;
  #isLanding = false;
  /** Memory for the next chunks. */
  #free: Buffer = Buffer.alloc(0);

  constructor(body: HttpBody) {
    super({ highWaterMark: 1 });
    this.body = body;
  }

  override _read(): void {
    if (this.#isLanding) {
      this.body.resume();
      return;
    }
    this.#isLanding = true;
    Promise.resolve(this.body.land(this.#landing)).then(
      () => this.push(null),
      (error: Error) => this.destroy(error),
    );
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.body.destroy();
    callback(error);
  }

  readonly #landing = {
    room: (): Buffer => {
      if (this.#free.length === 0) this.#free = Buffer.allocUnsafe(CHUNK_BYTES);
      return this.#free;
    },
    landed: (bytes: number): void => {
      const chunk = this.#free.subarray(0, bytes);
      this.#free = this.#free.subarray(bytes);
      if (!this.push(chunk)) this.body.pause();
    },
  };
}
