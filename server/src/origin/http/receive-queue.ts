/**
 * Bytes of large answers that are received per iteration of the event loop. The kernel copies them, their checksum is computed and clients
 * get them while everything else waits: about a millisecond.
 */
const ITERATION_BYTES = 1 << 20;

/** Bodies that are resumed per iteration. Each may receive one piece after the limit has been reached. */
const RESUMED_BODIES = 2;

/** A body that can stop receiving. */
export interface PausableBody {
  pause(): void;
  resume(): void;
}

/** What a queue needs of the event loop. */
export interface ReceiveQueueOptions {
  /** Calls back once, after the sockets of this iteration were read. */
  readonly afterReads: (call: () => void) => void;
}

/**
 * Schedules the receiving of large answers. Without it, a late event loop finds full socket buffers at all connections and reads them
 * all before it answers anything else, so that it becomes later still. The queue pauses bodies when an iteration has received enough and resumes
 * them in order, a few per iteration.
 */
export class ReceiveQueue {
  readonly #options: ReceiveQueueOptions;
  /** Paused bodies, the next one first. */
  readonly #paused = new Set<PausableBody>();
  #receivedBytes = 0;
  #isScheduled = false;

  constructor(options: ReceiveQueueOptions) {
    this.#options = options;
  }

  /** Call when a body has received bytes and lacks more. Pauses the body if the iteration has received enough. */
  received(body: PausableBody, bytes: number): void {
    this.#receivedBytes += bytes;
    this.#schedule();
    if (this.#receivedBytes < ITERATION_BYTES) return;
    this.#paused.add(body);
    body.pause();
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#options.afterReads(this.#next);
  }

  readonly #next = (): void => {
    this.#isScheduled = false;
    this.#receivedBytes = 0;
    let resumed = 0;
    for (const body of this.#paused) {
      if (resumed++ === RESUMED_BODIES) break;
      this.#paused.delete(body);
      body.resume();
    }
    if (this.#paused.size > 0) this.#schedule();
  };
}

/** The queue of this process, which has one event loop. */
export const receiveQueue = new ReceiveQueue({ afterReads: (call) => void setImmediate(call) });
