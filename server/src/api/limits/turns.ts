/**
 * Bytes of large answers that are handed to sockets in one turn of the event loop: the kernel copies them while everything
 * else waits, at some GB/s for a tenth of a millisecond.
 */
const TURN_BYTES = 512 << 10;

/** Somebody whose large answers take turns with those of others. Its queue is the turns' own. */
export interface TurnTaker {
  queue: Turn[];
}

interface Turn {
  readonly bytes: number;
  readonly send: () => void;
}

/**
 * Whose turn it is to send a part of a large answer. In each turn of the event loop some parts are sent, clients taking turns
 * and not connections, so that one with many gets no more than others; between turns the loop answers whatever is small.
 */
export class Turns {
  /** Those with something to send, the next one first. */
  #waiting: TurnTaker[] = [];
  #sentBytes = 0;
  #scheduled = false;

  /** Calls `send` once: now, where this turn of the loop has sent little yet and nobody waits, or in a later turn. */
  take(taker: TurnTaker, bytes: number, send: () => void): void {
    if (this.#waiting.length === 0 && this.#sentBytes < TURN_BYTES) {
      this.#sentBytes += bytes;
      this.#schedule();
      send();
      return;
    }
    if (taker.queue.push({ bytes, send }) === 1) this.#waiting.push(taker);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#next);
  }

  readonly #next = (): void => {
    this.#scheduled = false;
    this.#sentBytes = 0;
    while (this.#sentBytes < TURN_BYTES) {
      const taker = this.#waiting.shift();
      if (taker === undefined) return;
      const turn = taker.queue.shift()!;
      if (taker.queue.length > 0) this.#waiting.push(taker);
      this.#sentBytes += turn.bytes;
      turn.send();
    }
    this.#schedule();
  };
}
