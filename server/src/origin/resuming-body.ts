import { CacheError } from "@frontcache/proto";
import { LinkedAbort } from "@frontcache/proto/runtime";
import { otherVersion } from "./checked-answer.js";
import { attemptOf, type Landing, type Origin, type OriginAnswer, type OriginBody, type OriginRequest } from "./origin.js";
import type { Attempted, Retries } from "./retries.js";

/** What a body needs to resume after an answer that ends early. */
export interface ResumingBodyOptions {
  /** The first request. */
  readonly request: OriginRequest;
  readonly first: Attempted<OriginAnswer>;
  /** Sends further requests. */
  readonly next: Pick<Origin, "fetch">;
  readonly retries: Retries;
}

/** Sends a request for bytes until there is an answer, whose attempt must be ended. */
export function fetchUntilAnswered(
  next: Pick<Origin, "fetch">,
  request: OriginRequest,
  retries: Retries,
  signal: AbortSignal,
): Promise<Attempted<OriginAnswer>> {
  return retries.send((attempt) => next.fetch(attemptOf(request, attempt.signal, attempt.permit)), signal);
}

/** A body that resumes after its last byte under the same version if it ends early or stalls. Its reader does not notice. */
export class ResumingBody implements OriginBody, Landing {
  readonly #options: ResumingBodyOptions;
  #current: Attempted<OriginAnswer>;
  #received = 0;
  #landing: Landing | undefined;
  /** Aborts delays and further requests. Undefined while the bytes land that arrived with the head: nobody waits for the origin. */
  #abort: LinkedAbort | undefined;
  #hasEnded = false;

  constructor(options: ResumingBodyOptions) {
    this.#options = options;
    this.#current = options.first;
  }

  land(landing: Landing): Promise<void> | undefined {
    this.#landing = landing;
    const landed = this.#current.answer.body.land(this);
    if (landed !== undefined) return this.#landRest(landed);
    this.#end();
    return undefined;
  }

  // What each answer's body calls.

  room(): Buffer {
    return this.#landing!.room();
  }

  landed(bytes: number): void {
    this.#received += bytes;
    if (this.#abort !== undefined) this.#wait();
    this.#landing!.landed(bytes);
  }

  destroy(): void {
    if (this.#hasEnded) return;
    const { attempt } = this.#current;
    const error = new CacheError("CANCELLED", `${this.#options.request.ref.url}: the origin's answer was dropped`);
    this.#end();
    attempt.abort(error);
    this.#abort?.abort(error);
  }

  async #landRest(first: Promise<void>): Promise<void> {
    const abort = new LinkedAbort(this.#options.request.signal);
    this.#abort = abort;
    try {
      for (let landed: Promise<void> | undefined = first; !(await this.#hasLanded(landed, abort.signal)); ) {
        await this.#resume(abort.signal);
        landed = this.#current.answer.body.land(this);
      }
    } finally {
      abort.unlink();
      this.#end();
    }
  }

  /** False: the answer ended early, and the rest may be requested. */
  async #hasLanded(landed: Promise<void> | undefined, signal: AbortSignal): Promise<boolean> {
    const { retries, first } = this.#options;
    try {
      this.#wait();
      await landed;
      return true;
    } catch (error) {
      if (this.#hasEnded) throw error;
      this.#current.attempt.fail();
      if (this.#received === first.answer.length) throw error; // all bytes, and then more than that
      await retries.failed(error, signal);
      return false;
    }
  }

  async #resume(signal: AbortSignal): Promise<void> {
    const { request, first, next, retries } = this.#options;
    const { version } = first.answer.info;
    const [offset, length] = [request.offset + this.#received, first.answer.length - this.#received];
    this.#current = await fetchUntilAnswered(next, { ...request, offset, length, version }, retries, signal);
    const { answer } = this.#current;
    if (answer.info.version !== version || answer.length !== length) throw otherVersion(request.ref, version);
  }

  #wait(): void {
    // A body that is destroyed while it lands waits for nothing.
    if (!this.#hasEnded) this.#current.attempt.wait(this.#options.retries.idleTimeouts);
  }

  #end(): void {
    this.#hasEnded = true;
    const { attempt, answer } = this.#current;
    attempt.end();
    answer.body.destroy();
  }
}
