import { CacheError } from "@frontcache/proto";
import type { Clock } from "../runtime/clock.js";

/** A body in pieces. */
export interface BodyPieces extends AsyncIterable<Uint8Array> {
  /** A piece is not used any more. Called in the order of the pieces, or not at all. Absent: nobody waits for it. */
  taken?(piece: Uint8Array): void;
  /**
   * Receives the next bytes into memory, in place of iterating. Resolves with their number when the memory is full, or nothing followed for
   * some milliseconds; with 0 at the end of the body. Absent: iterate.
   */
  receive?(target: Uint8Array): Promise<number>;
}

/** The same body, of which `onPiece` gets all bytes before they are used, and `onEnd` is called at its end. Both may throw. */
export function watched(body: BodyPieces, onPiece: (piece: Uint8Array) => void, onEnd: () => void = () => {}): BodyPieces {
  const watching: BodyPieces = {
    [Symbol.asyncIterator]() {
      const pieces = body[Symbol.asyncIterator]();
      const end = async (): Promise<IteratorResult<Uint8Array>> => {
        await pieces.return?.();
        return { done: true, value: undefined };
      };
      const next = async (): Promise<IteratorResult<Uint8Array>> => {
        const step = await pieces.next();
        try {
          if (step.done === true) onEnd();
          else onPiece(step.value);
        } catch (error) {
          await end();
          throw error;
        }
        return step;
      };
      return { next, return: end };
    },
    taken: (piece) => body.taken?.(piece),
  };
  if (body.receive === undefined) return watching;
  const receive = async (target: Uint8Array): Promise<number> => {
    const bytes = await body.receive!(target);
    if (bytes === 0) onEnd();
    else onPiece(target.subarray(0, bytes));
    return bytes;
  };
  return { ...watching, receive };
}

/** Bytes that may wait for one branch; then the body waits. */
const WINDOW_BYTES = 2 << 20;
/** A branch that takes nothing for so long, although bytes wait for it, has failed. */
const STALLED_MS = 10_000;

/** One body for several takers. Each gets all pieces at its own pace. The body waits for the slowest one. */
export class BodyTee {
  readonly #branches = new Set<Branch>();
  /** How many branches there were at first. */
  #takers = 0;
  /** How many branches use a piece. */
  readonly #using = new Map<Uint8Array, number>();
  #onTaken: (piece: Uint8Array) => void = () => {};
  readonly #clock: Pick<Clock, "after">;

  constructor(clock: Pick<Clock, "after">) {
    this.#clock = clock;
  }

  /** The pieces for one taker. Call it before `run`. Returning from it ends it. */
  branch(): BodyPieces & AsyncIterableIterator<Uint8Array> {
    const branch = new Branch(
      () => this.#branches.delete(branch),
      (piece) => this.#takenByOne(piece),
    );
    this.#branches.add(branch);
    this.#takers++;
    return branch;
  }

  /** Reads the body, until its end or until nobody takes it. Rejects with the body's error, with which the branches end, too. */
  async run(body: BodyPieces): Promise<void> {
    this.#onTaken = (piece) => body.taken?.(piece);
    try {
      for await (const piece of body) {
        if (piece.length === 0) continue;
        // A taker that has ended may still be sending: then no memory is used again.
        if (this.#branches.size < this.#takers) this.#onTaken = () => {};
        this.#using.set(piece, this.#branches.size);
        for (const branch of this.#branches) branch.push(piece);
        for (const branch of this.#branches) if (branch.waitingBytes > WINDOW_BYTES) await this.#room(branch);
        if (this.#branches.size === 0) return;
      }
      // Memory is freed with the body from now on.
      this.#onTaken = () => {};
      for (const branch of [...this.#branches]) branch.end(undefined);
    } catch (error) {
      for (const branch of [...this.#branches]) branch.end(CacheError.from(error));
      throw error;
    }
  }

  #takenByOne(piece: Uint8Array): void {
    const users = (this.#using.get(piece) ?? 1) - 1;
    this.#using.set(piece, users);
    if (users > 0) return;
    this.#using.delete(piece);
    this.#onTaken(piece);
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
  /** Called when its taker does not use a piece any more. */
  readonly taken: (piece: Uint8Array) => void;
  readonly #pieces: Uint8Array[] = [];
  #waitingBytes = 0;
  /** How it has ended: with an error, or behind the waiting pieces. Undefined: it has not. */
  #end: { readonly failure: CacheError | undefined } | undefined;
  #wakeTaker: (() => void) | undefined;
  #wakeBody: (() => void) | undefined;

  constructor(onEnd: () => void, onTaken: (piece: Uint8Array) => void) {
    this.#onEnd = onEnd;
    this.taken = onTaken;
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
