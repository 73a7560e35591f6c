import { CacheError } from "@frontcache/proto";
import type { Clock } from "../runtime/clock.js";

/** Bytes that may wait for one branch; then the body waits. */
const WINDOW_BYTES = 2 << 20;
/** A branch that takes nothing for so long, although bytes wait for it, has failed. */
const STALLED_MS = 10_000;

/** One body for several takers. Each gets all pieces at its own pace. The body waits for the slowest one. */
export class BodyTee {
  readonly #branches = new Set<Branch>();
  readonly #clock: Pick<Clock, "after">;

  constructor(clock: Pick<Clock, "after">) {
    this.#clock = clock;
  }

  /** The pieces for one taker. Call it before `run`. Returning from it ends it. */
  branch(): AsyncIterableIterator<Uint8Array> {
    const branch = new Branch(() => this.#branches.delete(branch));
    this.#branches.add(branch);
    return branch;
  }

  /** Reads the body, until its end or until nobody takes it. Rejects with the body's error, with which the branches end, too. */
  async run(body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<void> {
    try {
      for await (const piece of body) {
        if (piece.length === 0) continue;
        for (const branch of this.#branches) branch.push(piece);
        for (const branch of this.#branches) if (branch.waitingBytes > WINDOW_BYTES) await this.#room(branch);
        if (this.#branches.size === 0) return;
      }
      for (const branch of [...this.#branches]) branch.end(undefined);
    } catch (error) {
      for (const branch of [...this.#branches]) branch.end(CacheError.from(error));
      throw error;
    }
  }

  async #room(branch: Branch): Promise<void> {
    const cancel = this.#clock.after(STALLED_MS, () => {
      branch.end(new CacheError("DEADLINE_EXCEEDED", `a member took no bytes for ${STALLED_MS} ms`));
    });
    await branch.room(WINDOW_BYTES);
    cancel();
  }
}

class Branch implements AsyncIterableIterator<Uint8Array> {
  readonly #onEnd: () => void;
  readonly #pieces: Uint8Array[] = [];
  #waitingBytes = 0;
  /** How it has ended: with an error, or behind the waiting pieces. Undefined: it has not. */
  #end: { readonly failure: CacheError | undefined } | undefined;
  #wakeTaker: (() => void) | undefined;
  #wakeBody: (() => void) | undefined;

  constructor(onEnd: () => void) {
    this.#onEnd = onEnd;
  }

  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  push(piece: Uint8Array): void {
    this.#pieces.push(piece);
    this.#waitingBytes += piece.length;
    this.#wakeTaker?.();
  }

  end(failure: CacheError | undefined): void {
    if (this.#end !== undefined) return;
    this.#end = { failure };
    if (failure !== undefined) this.#drop();
    this.#onEnd();
    this.#wakeTaker?.();
    this.#wakeBody?.();
  }

  /** Resolves when at most so many bytes wait, or the branch has ended. */
  async room(bytes: number): Promise<void> {
    while (this.#waitingBytes > bytes && this.#end === undefined) {
      await new Promise<void>((resolve) => {
        this.#wakeBody = resolve;
      });
    }
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Uint8Array>> {
    while (this.#pieces.length === 0 && this.#end === undefined) {
      await new Promise<void>((resolve) => {
        this.#wakeTaker = resolve;
      });
    }
    const piece = this.#pieces.shift();
    if (piece !== undefined) {
      this.#waitingBytes -= piece.length;
      this.#wakeBody?.();
      return { done: false, value: piece };
    }
    if (this.#end?.failure !== undefined) throw this.#end.failure;
    return { done: true, value: undefined };
  }

  async return(): Promise<IteratorResult<Uint8Array>> {
    this.#drop();
    this.end(undefined);
    return { done: true, value: undefined };
  }

  #drop(): void {
    this.#pieces.length = 0;
    this.#waitingBytes = 0;
  }
}
