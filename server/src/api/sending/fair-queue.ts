/**
 * Bytes of large responses that are written to sockets per iteration of the event loop. The kernel copies them while everything
 * else waits: a tenth of a millisecond at a few GB/s.
 */
export const TURN_BYTES = 512 << 10;

/** A participant of a fair queue. Its `queue` belongs to the FairQueue. */
export interface QueueMember {
  queue: QueuedPart[];
}

interface QueuedPart {
  readonly bytes: number;
  readonly send: () => void;
}

/**
 * Schedules the parts of large responses. Each iteration of the event loop sends a bounded number of bytes, round robin
 * among clients (not connections), so a client with many connections gets no more than others. Between iterations, the
 * loop answers small requests.
 */
export class FairQueue {
  /** Participants with parts to send, the next one first. */
  #waiting: QueueMember[] = [];
  #sentBytes = 0;
  #scheduled = false;

  /** Calls `send` once: immediately if the queue is empty and this iteration has sent little, otherwise in a later iteration. */
  enqueue(member: QueueMember, bytes: number, send: () => void): void {
    if (this.#waiting.length === 0 && this.#fits(bytes)) {
      this.#sentBytes += bytes;
      this.#schedule();
      send();
      return;
    }
    if (member.queue.push({ bytes, send }) === 1) this.#waiting.push(member);
    this.#schedule();
  }

  /** Returns whether a part may be sent in this iteration: parts of TURN_BYTES in all, or one larger part. */
  #fits(bytes: number): boolean {
    return this.#sentBytes === 0 || this.#sentBytes + bytes <= TURN_BYTES;
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#next);
  }

  readonly #next = (): void => {
    this.#scheduled = false;
    this.#sentBytes = 0;
    for (;;) {
      const member = this.#waiting[0];
      if (member === undefined) return;
      if (!this.#fits(member.queue[0]!.bytes)) break;
      this.#waiting.shift();
      const part = member.queue.shift()!;
      if (member.queue.length > 0) this.#waiting.push(member);
      this.#sentBytes += part.bytes;
      part.send();
    }
    this.#schedule();
  };
}
