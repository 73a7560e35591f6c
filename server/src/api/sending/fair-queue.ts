/**
 * Bytes of large answers that are handed to sockets in one turn of the event loop: the kernel copies them while everything
 * else waits, at some GB/s for a tenth of a millisecond.
 */
const TURN_BYTES = 512 << 10;

/** One party of a fair queue. Its `queue` belongs to the FairQueue. */
export interface QueueMember {
  queue: QueuedPart[];
}

interface QueuedPart {
  readonly bytes: number;
  readonly send: () => void;
}

/**
 * Decides when the next part of a large answer is sent. Each turn of the event loop sends a bounded number of bytes, round robin
 * among clients and not among connections, so that a client with many connections gets no more than others. Between turns the
 * loop answers small requests.
 */
export class FairQueue {
  /** Members with parts to send, the next one first. */
  #waiting: QueueMember[] = [];
  #sentBytes = 0;
  #scheduled = false;

  /** Calls `send` once: at once if nobody waits and this turn has sent little yet, else in a later turn. */
  enqueue(member: QueueMember, bytes: number, send: () => void): void {
    if (this.#waiting.length === 0 && this.#sentBytes < TURN_BYTES) {
      this.#sentBytes += bytes;
      this.#schedule();
      send();
      return;
    }
    if (member.queue.push({ bytes, send }) === 1) this.#waiting.push(member);
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
      const member = this.#waiting.shift();
      if (member === undefined) return;
      const part = member.queue.shift()!;
      if (member.queue.length > 0) this.#waiting.push(member);
      this.#sentBytes += part.bytes;
      part.send();
    }
    this.#schedule();
  };
}
