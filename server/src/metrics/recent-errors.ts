import type { ErrorCode } from "@frontcache/proto";

/** A read that failed. */
export interface RecentError {
  /** Wall time, milliseconds since 1970. */
  readonly atMs: number;
  readonly code: ErrorCode;
  readonly url: string;
  /** One line, as sent to the client. */
  readonly message: string;
}

/** Longer messages are cut; URLs have up to about 1,100 characters. */
const MAX_MESSAGE = 2_000;

/** The latest errors, bounded by a capacity. */
export class RecentErrors {
  readonly #capacity: number;

  readonly #errors: RecentError[] = [];
  #next = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  add(error: RecentError): void {
    this.#errors[this.#next] = { ...error, message: error.message.slice(0, MAX_MESSAGE) };
    this.#next = (this.#next + 1) % this.#capacity;
  }

  /** The newest first. */
  list(): RecentError[] {
    return [...this.#errors.slice(this.#next), ...this.#errors.slice(0, this.#next)].reverse();
  }
}
