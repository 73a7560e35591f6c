import { abortError, CacheError } from "@frontcache/proto";
import { type LinkedAbort, untilAborted } from "@frontcache/proto/runtime";
import type { Landing, OriginBody } from "../../origin/origin.js";
import type { MemoryFault } from "./memory-faults.js";
import type { MemoryObject } from "./memory-objects.js";

/** A running fetch, with its remaining range. */
export interface RunningFetch {
  readonly url: string;
  readonly version: string;
  start: number;
  readonly end: number;
}

export interface MemoryBodyOptions {
  readonly object: MemoryObject;
  /** Its `start` advances with the bytes. */
  readonly running: RunningFetch;
  readonly fault: MemoryFault;
  /** Maximum bytes of a chunk. */
  readonly chunkBytes: number;
  readonly life: LinkedAbort;
  /** Waits on the origin's clock; rejects when aborted. */
  readonly pause: (delayMs: number, signal: AbortSignal) => Promise<void>;
  readonly onBytes: (bytes: number) => void;
  /** Called at least once when the body has been read, has failed or was destroyed. */
  readonly onEnd: () => void;
}

/** The body of a MemoryOrigin's response, with its fault. */
export class MemoryBody implements OriginBody {
  readonly #options: MemoryBodyOptions;
  readonly #begin: number;
  /** End of the bytes: before the end of the range if a fault ends or stalls them. */
  readonly #stop: number;

  constructor(options: MemoryBodyOptions) {
    const { running, fault } = options;
    this.#options = options;
    this.#begin = running.start;
    this.#stop = Math.min(running.end, running.start + (fault.body?.afterBytes ?? Number.POSITIVE_INFINITY));
  }

  async land(landing: Landing): Promise<void> {
    const { running } = this.#options;
    try {
      while (running.start < this.#stop) await this.#landChunk(landing);
      await this.#end();
    } finally {
      this.#close();
    }
  }

  destroy(): void {
    const { life, running } = this.#options;
    this.#close();
    life.abort(new CacheError("CANCELLED", `${running.url}: the origin's answer was dropped`));
  }

  async #landChunk(landing: Landing): Promise<void> {
    const { object, running, fault, chunkBytes, life, pause, onBytes } = this.#options;
    if (fault.chunkDelayMs !== undefined) await pause(fault.chunkDelayMs, life.signal);
    const end = Math.min(running.start + chunkBytes, this.#stop);
    while (running.start < end) {
      if (life.signal.aborted) throw abortError(life.signal);
      const memory = landing.room().subarray(0, end - running.start);
      object.copy(running.start, memory);
      running.start += memory.length;
      onBytes(memory.length);
      landing.landed(memory.length);
    }
  }

  async #end(): Promise<void> {
    const { running, fault, life } = this.#options;
    if (this.#stop === running.end) return;
    if (fault.body?.how === "stall") await untilAborted(new Promise<never>(() => {}), life.signal);
    throw new CacheError("UNAVAILABLE", `${running.url}: placed end after ${this.#stop - this.#begin} bytes`);
  }

  #close(): void {
    this.#options.onEnd();
    this.#options.life.unlink();
  }
}
