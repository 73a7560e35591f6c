import { setTimeout } from "node:timers/promises";
import { BLOCK_BYTES, isRight, type TestObject } from "./test-objects.js";

/** The results of continuous reads. */
export interface ReadReport {
  readonly reads: number;
  /** Errors of failed reads, one line each. */
  readonly failed: readonly string[];
  readonly wrong: number;
  readonly slowestMs: number;
}

/** Maximum failures before the reads stop, because reads of a closed client fail immediately and would never yield. */
const MOST_FAILURES = 20;

/** Pause of a loop after each read: the reads continue while members start and end, and leave them the processors. */
const PAUSE_MS = 20;

/** Reads until `stop`: each loop reads all blocks one after the other, and checks every byte. */
export class Readers implements AsyncDisposable {
  readonly #readRange: (object: TestObject, range: { offset: number; length: number }) => Promise<Buffer>;
  readonly #objects: readonly TestObject[];
  #reads = 0;
  #slowestMs = 0;
  readonly #failed: string[] = [];
  #wrong = 0;
  #stopped = false;
  readonly #running: Promise<unknown>;
  #waiting: { readonly reads: number; readonly resolve: () => void; readonly reject: (error: Error) => void }[] = [];

  constructor(
    readRange: (object: TestObject, range: { offset: number; length: number }) => Promise<Buffer>,
    objects: readonly TestObject[],
    { readers, bytes }: { readonly readers: number; readonly bytes: number },
  ) {
    this.#readRange = readRange;
    this.#objects = objects;
    this.#running = Promise.all(Array.from({ length: readers }, (_, index) => this.#read(index, readers, bytes)));
  }

  /** Resolves after `count` more reads; rejects if too many have failed. */
  more(reads: number): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#stopped) reject(this.#tooMany());
      else this.#waiting.push({ reads: this.#reads + reads, resolve, reject });
    });
  }

  async stop(): Promise<ReadReport> {
    this.#stopped = true;
    await this.#running;
    return { reads: this.#reads, failed: this.#failed, wrong: this.#wrong, slowestMs: Math.round(this.#slowestMs) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #read(index: number, readers: number, length: number): Promise<void> {
    const blocks = this.#objects.flatMap((object) => Array.from({ length: object.blocks }, (_, block) => ({ object, block })));
    for (let at = Math.floor((blocks.length / readers) * index); !this.#stopped; at++) {
      const { object, block } = blocks[at % blocks.length]!;
      const offset = block * BLOCK_BYTES + ((at * 4_099) % (BLOCK_BYTES - length));
      const beganMs = performance.now();
      try {
        const bytes = await this.#readRange(object, { offset, length });
        if (!isRight(bytes, object, { offset, length })) this.#wrong++;
      } catch (error) {
        this.#failed.push(`${object.key} at ${offset}: ${error}`);
        if (this.#failed.length >= MOST_FAILURES) this.#giveUp();
      }
      this.#reads++;
      this.#slowestMs = Math.max(this.#slowestMs, performance.now() - beganMs);
      this.#waiting = this.#waiting.filter(({ reads, resolve }) => {
        if (this.#reads >= reads) resolve();
        return this.#reads < reads;
      });
      await setTimeout(PAUSE_MS);
    }
  }

  #giveUp(): void {
    this.#stopped = true;
    for (const { reject } of this.#waiting.splice(0)) reject(this.#tooMany());
  }

  #tooMany(): Error {
    return new Error(`${this.#failed.length} reads failed: ${this.#failed.join("; ")}`);
  }
}
