import { Change, type Entry } from "./entry.js";

/** Concurrent writes. */
const MOST_RUNNING = 4;
/** Values out of the budget that may wait for their write before new ones have to. */
const MOST_WAITING = 8;

/**
 * Writes values that no longer fit into memory. Values whose write failed stay in memory and are tried again before the next new
 * value is accepted, so that a full disk loses nothing and memory stays bounded.
 */
export class WriteBacklog<T> {
  readonly #write: (entry: Entry<T>) => Promise<void>;
  readonly #waiting = new Set<Entry<T>>();
  readonly #running = new Set<Entry<T>>();
  readonly #failed = new Map<Entry<T>, unknown>();
  readonly #change = new Change();

  /** `write` stores a value in its file. */
  constructor(write: (entry: Entry<T>) => Promise<void>) {
    this.#write = write;
  }

  /** Number of values in memory beyond the budget. */
  get size(): number {
    return this.#waiting.size + this.#running.size + this.#failed.size;
  }

  add(entry: Entry<T>): void {
    if (this.#running.has(entry)) return;
    this.#failed.delete(entry);
    this.#waiting.add(entry);
    this.#start();
  }

  /** The value need not be written any more. A running write continues. */
  remove(entry: Entry<T>): void {
    this.#waiting.delete(entry);
    this.#failed.delete(entry);
    this.#change.notify();
  }

  /** Waits until a new value may be accepted. Rejects with the cause if values cannot be written. */
  async room(signal?: AbortSignal): Promise<void> {
    const hadFailed = this.#failed.size > 0;
    for (const entry of [...this.#failed.keys()]) this.add(entry);
    const most = hadFailed ? 0 : MOST_WAITING;
    while (this.#failed.size === 0 && this.#waiting.size + this.#running.size > most) await this.#change.next(signal);
    for (const cause of this.#failed.values()) throw cause;
  }

  /** Waits until nothing waits or runs. */
  async idle(): Promise<void> {
    while (this.#waiting.size + this.#running.size > 0) await this.#change.next();
  }

  /** Forgets what waits. Running writes continue. */
  clear(): void {
    this.#waiting.clear();
    this.#failed.clear();
    this.#change.notify();
  }

  #start(): void {
    for (const entry of this.#waiting) {
      if (this.#running.size >= MOST_RUNNING) return;
      this.#waiting.delete(entry);
      this.#running.add(entry);
      void this.#run(entry);
    }
  }

  async #run(entry: Entry<T>): Promise<void> {
    try {
      await this.#write(entry);
    } catch (error) {
      // Nobody can ask for a value without a handle, so its failure matters to nobody.
      if (entry.handles > 0) this.#failed.set(entry, error);
    }
    this.#running.delete(entry);
    this.#start();
    this.#change.notify();
  }
}
