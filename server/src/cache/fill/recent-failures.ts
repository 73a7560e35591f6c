import type { CacheError, ObjectRef } from "@frontcache/proto";
import { BoundedMap } from "@frontcache/proto/runtime";
import type { Clock } from "../../runtime/clock.js";

/** A client resumes an interrupted answer within this time: it may have to load gRPC and to connect. */
const REMEMBERED_MS = 5_000;

/** Blocks remembered, about 200 bytes each. */
const CAPACITY = 1_000;

/** A block of any version. */
export interface FailedBlock {
  readonly ref: Pick<ObjectRef, "url">;
  readonly blockOffset: number;
}

/**
 * Blocks that have just failed for good. Over HTTP, an answer that has begun cannot say why it ends too soon: its client resumes
 * it, and learns the error from here, without further requests to the origin.
 */
export class RecentFailures {
  readonly #clock: Pick<Clock, "monotonicMs">;
  readonly #failures = new BoundedMap<string, { readonly error: CacheError; readonly atMs: number }>(CAPACITY);

  constructor(clock: Pick<Clock, "monotonicMs">) {
    this.#clock = clock;
  }

  add(block: FailedBlock, error: CacheError): void {
    this.#failures.set(keyOf(block), { error, atMs: this.#clock.monotonicMs() });
  }

  /** The error of a block that has failed a moment ago. */
  find(block: FailedBlock): CacheError | undefined {
    const failure = this.#failures.peek(keyOf(block));
    return failure !== undefined && this.#clock.monotonicMs() - failure.atMs < REMEMBERED_MS ? failure.error : undefined;
  }
}

function keyOf({ ref, blockOffset }: FailedBlock): string {
  return `${blockOffset} ${ref.url}`;
}
