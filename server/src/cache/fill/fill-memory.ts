import { abortError } from "@frontcache/proto";
import { type Linked, LinkedList, whenAborted } from "@frontcache/proto/runtime";

/** Demand: a reader waits. It comes before background work. */
export type Priority = "demand" | "background";

export interface FillMemoryOptions {
  /** The byte budget of all running fills together; at least one segment. */
  readonly budgetBytes: number;
  readonly segmentBytes: number;
}

/** A place in the queue for memory. */
export interface Claim {
  /** The buffers, one per segment. Rejects with a CacheError if the signal is aborted before. */
  readonly buffers: Promise<Buffer[]>;
  /** Background becomes demand, at the end of that queue. No effect on a served claim. */
  promote(): void;
}

interface Waiter extends Linked<Waiter> {
  readonly count: number;
  readonly give: (buffers: Buffer[]) => void;
}

/**
 * The memory that fills land in: a pool of segment-sized buffers under one byte budget. Claims are served in order, demand
 * before background; a claim is served whole, so two half-served ones can never wait for each other.
 */
export class FillMemory {
  readonly #segmentBytes: number;
  readonly #capacity: number;
  readonly #free: Buffer[] = [];
  #allocated = 0;
  readonly #queues: Record<Priority, LinkedList<Waiter>> = { demand: new LinkedList(), background: new LinkedList() };
  readonly #onPressure = new Set<() => void>();

  constructor({ budgetBytes, segmentBytes }: FillMemoryOptions) {
    this.#segmentBytes = segmentBytes;
    this.#capacity = Math.max(1, Math.floor(budgetBytes / segmentBytes));
  }

  /** The most segments that one claim may ask for. */
  get maxSegments(): number {
    return this.#capacity;
  }

  get usedBytes(): number {
    return (this.#allocated - this.#free.length) * this.#segmentBytes;
  }

  /** Claims that wait. */
  get waiting(): number {
    return this.#queues.demand.size + this.#queues.background.size;
  }

  /** Takes `count` buffers (at most `maxSegments`) at once. Undefined if they are not free, or if a claim has to come first. */
  take(count: number, priority: Priority): Buffer[] | undefined {
    const { demand, background } = this.#queues;
    const isFirst = demand.size === 0 && (priority === "demand" || background.size === 0);
    return isFirst && this.#fits(count) ? this.#remove(count) : undefined;
  }

  /** Claims `count` buffers (at most `maxSegments`), and waits for them. */
  claim(count: number, priority: Priority, signal: AbortSignal): Claim {
    if (signal.aborted) return { buffers: Promise.reject(abortError(signal)), promote() {} };
    const buffers = this.take(count, priority);
    if (buffers !== undefined) return { buffers: Promise.resolve(buffers), promote() {} };
    return this.#enqueue(count, priority, signal);
  }

  /** Returns a buffer that is no longer used. */
  give(buffer: Buffer): void {
    this.#free.push(buffer);
    this.#serve();
  }

  /** Calls back when demand has to wait: the caller has memory that it can free then. The returned function stops that. */
  onPressure(drop: () => void): () => void {
    this.#onPressure.add(drop);
    return () => this.#onPressure.delete(drop);
  }

  #enqueue(count: number, priority: Priority, signal: AbortSignal): Claim {
    let queue = this.#queues[priority];
    const { promise, resolve, reject } = withResolvers<Buffer[]>();
    const remove = whenAborted(signal, () => {
      queue.delete(waiter);
      reject(abortError(signal));
      this.#serve();
    });
    const waiter: Waiter = {
      count,
      give: (buffers) => {
        remove();
        resolve(buffers);
      },
    };
    queue.add(waiter);
    if (priority === "demand") this.#relieve();
    const promote = (): void => {
      if (queue === this.#queues.demand || !queue.delete(waiter)) return;
      queue = this.#queues.demand;
      queue.add(waiter);
      this.#serve();
      this.#relieve();
    };
    return { buffers: promise, promote };
  }

  #relieve(): void {
    for (const drop of [...this.#onPressure]) {
      if (this.#queues.demand.size === 0) return;
      drop();
    }
  }

  #serve(): void {
    if (this.waiting === 0) return;
    for (const queue of [this.#queues.demand, this.#queues.background]) {
      for (let waiter = queue.first; waiter !== undefined; waiter = queue.first) {
        if (!this.#fits(waiter.count)) return;
        queue.delete(waiter);
        waiter.give(this.#remove(waiter.count));
      }
    }
  }

  #fits(count: number): boolean {
    return this.#free.length + this.#capacity - this.#allocated >= count;
  }

  #remove(count: number): Buffer[] {
    const buffers: Buffer[] = [];
    while (buffers.length < count) buffers.push(this.#free.pop() ?? this.#allocate());
    return buffers;
  }

  /** Not from Node's small-buffer pool: these are never freed and must not keep neighbours alive. */
  #allocate(): Buffer {
    this.#allocated++;
    return Buffer.allocUnsafeSlow(this.#segmentBytes);
  }
}

/** Promise.withResolvers, which Node 20 lacks. */
function withResolvers<T>(): { promise: Promise<T>; resolve: (value: T) => void; reject: (reason: unknown) => void } {
  let resolve!: (value: T) => void;
  let reject!: (reason: unknown) => void;
  const promise = new Promise<T>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  return { promise, resolve, reject };
}
