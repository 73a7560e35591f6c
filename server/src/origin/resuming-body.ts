import { CacheError } from "@frontcache/proto";
import type { LinkedAbort } from "@frontcache/proto/runtime";
import { otherVersion } from "./checked-answer.js";
import type { Landing, OriginAnswer, OriginBody, OriginRequest } from "./origin.js";
import type { Attempted, Retries } from "./retries.js";

/** What a body needs to resume after an answer that ends early. */
export interface ResumingBodyOptions {
  /** The first request. */
  readonly request: OriginRequest;
  readonly first: Attempted<OriginAnswer>;
  /** Sends a request for the rest until there is an answer. */
  readonly send: (rest: OriginRequest) => Promise<Attempted<OriginAnswer>>;
  readonly retries: Retries;
  /** Aborts the running request or delay; the signal of all attempts. */
  readonly abort: LinkedAbort;
}

/** A body that resumes after its last byte under the same version if it ends early or stalls. Its reader does not notice. */
export class ResumingBody implements OriginBody, Landing {
  readonly #options: ResumingBodyOptions;
  #current: Attempted<OriginAnswer>;
  #received = 0;
  #landing: Landing | undefined;
  #hasEnded = false;

  constructor(options: ResumingBodyOptions) {
    this.#options = options;
    this.#current = options.first;
  }

  async land(landing: Landing): Promise<void> {
    this.#landing = landing;
    try {
      while (!(await this.#landCurrent())) await this.#resume();
    } finally {
      this.#end();
    }
  }

  // What each answer's body calls.

  room(): Buffer {
    return this.#landing!.room();
  }

  landed(bytes: number): void {
    this.#received += bytes;
    this.#current.attempt.wait(this.#options.retries.idleTimeoutMs);
    this.#landing!.landed(bytes);
  }

  destroy(): void {
    if (this.#hasEnded) return;
    const { request, abort } = this.#options;
    this.#end();
    abort.abort(new CacheError("CANCELLED", `${request.ref.url}: the origin's answer was dropped`));
  }

  /** False: the answer ended early, and the rest may be requested. */
  async #landCurrent(): Promise<boolean> {
    const { retries, abort, first } = this.#options;
    const { answer, attempt } = this.#current;
    try {
      attempt.wait(retries.idleTimeoutMs);
      await answer.body.land(this);
      return true;
    } catch (error) {
      attempt.fail();
      if (this.#received === first.answer.length) throw error; // all bytes, and then more than that
      await retries.failed(error, abort.signal);
      return false;
    }
  }

  async #resume(): Promise<void> {
    const { request, first, send } = this.#options;
    const { version } = first.answer.info;
    const [offset, length] = [request.offset + this.#received, first.answer.length - this.#received];
    this.#current = await send({ ...request, offset, length, version });
    const { answer } = this.#current;
    if (answer.info.version !== version || answer.length !== length) throw otherVersion(request.ref, version);
  }

  #end(): void {
    this.#hasEnded = true;
    const { attempt, answer } = this.#current;
    attempt.end();
    answer.body.destroy();
    this.#options.abort.unlink();
  }
}
