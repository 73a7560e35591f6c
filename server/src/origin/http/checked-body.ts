import type { HttpBody, Landing } from "@frontcache/client/http";
import { CacheError } from "@frontcache/proto";
import type { OriginBody } from "../origin.js";
import { receiveQueue } from "./receive-queue.js";

/** The errors of a body that is not as its head says. */
export interface BodyErrors {
  /** The connection ended after `received` bytes. */
  broken(received: number, cause?: unknown): CacheError;
  /** More bytes arrived than the head says. */
  surplus(): CacheError;
}

/** A body of this length takes its turn in the queue: shorter ones cost the event loop little. */
const QUEUED_BYTES = 256 << 10;

/** Memory for bytes behind the last one of a range, which are an error. */
const SURPLUS_ROOM = Buffer.alloc(1);

/**
 * The body of a response: exactly `length` bytes, or a CacheError. Nothing is read before `land`. It receives the bytes itself, for the
 * landing.
 */
export class CheckedBody implements OriginBody, Landing {
  readonly #body: HttpBody;
  readonly #length: number;
  readonly #errors: BodyErrors;
  #received = 0;
  #landing: Landing | undefined;

  constructor(body: HttpBody, length: number, errors: BodyErrors) {
    this.#body = body;
    this.#length = length;
    this.#errors = errors;
  }

  land(landing: Landing): Promise<void> | undefined {
    this.#landing = landing;
    const landed = this.#body.land(this);
    if (landed !== undefined) return landed.then(this.#checkEnd, this.#fail);
    return this.#received < this.#length ? Promise.reject(this.#errors.broken(this.#received)) : undefined;
  }

  readonly #checkEnd = (): void => {
    if (this.#received < this.#length) throw this.#errors.broken(this.#received);
  };

  readonly #fail = (error: unknown): void => {
    if (error instanceof CacheError) throw error;
    throw error instanceof LandingFailure ? CacheError.from(error.cause) : this.#errors.broken(this.#received, error);
  };

  /** If all bytes have arrived, the connection is kept. */
  destroy(): void {
    if (!this.#body.complete) this.#body.destroy(new CacheError("CANCELLED", "the origin's answer was dropped"));
  }

  room(): Buffer {
    const left = this.#length - this.#received;
    if (left === 0) return SURPLUS_ROOM;
    const room = attempt(() => this.#landing!.room());
    return room.length > left ? room.subarray(0, left) : room;
  }

  landed(bytes: number): void {
    if (this.#received === this.#length) throw this.#errors.surplus();
    this.#received += bytes;
    attempt(() => this.#landing!.landed(bytes));
    if (this.#length >= QUEUED_BYTES && this.#received < this.#length) receiveQueue.received(this.#body, bytes);
  }
}

/** Distinguishes an error of the landing from one of the connection. */
class LandingFailure extends Error {
  constructor(cause: unknown) {
    super("the landing failed", { cause });
  }
}

function attempt<Result>(act: () => Result): Result {
  try {
    return act();
  } catch (error) {
    throw new LandingFailure(error);
  }
}
