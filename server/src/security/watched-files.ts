import { readFile } from "node:fs/promises";
import type { Clock } from "../runtime/clock.js";

/** Some files that make up one thing, which somebody may exchange while the process runs. */
export interface WatchedFilesOptions<Thing> {
  readonly paths: readonly string[];
  /** What the files' contents, in the order of `paths`, mean. Throws where they mean nothing, for example half of a new pair. */
  readonly read: (contents: readonly Buffer[]) => Thing;
  /** A change can't be used; the last good contents hold. Called once for each such change. */
  readonly onRefused: (error: Error) => void;
  /** How often they are looked at, milliseconds. Kubernetes exchanges a mounted secret by a link, which few watchers notice. */
  readonly everyMs: number;
  readonly clock: Clock;
}

/** What some files say now: read at once, and again whenever their contents change. */
export class WatchedFiles<Thing> {
  readonly #listeners = new Set<(thing: Thing) => void>();
  readonly #closing = new AbortController();
  #cancelTimer: () => void = () => {};
  #looking: Promise<void> = Promise.resolve();
  /** What was last told of files that can't be read or used; empty: they could be read since. */
  #refused = "";

  private constructor(
    private readonly options: WatchedFilesOptions<Thing>,
    /** What was last looked at, good or not. */
    private seen: readonly Buffer[],
    private thing: Thing,
  ) {
    this.#wait();
  }

  /** Rejects with the system's error where a file can't be read, or with what `read` throws. */
  static async open<Thing>(options: WatchedFilesOptions<Thing>): Promise<WatchedFiles<Thing>> {
    const contents = await readAll(options.paths);
    return new WatchedFiles(options, contents, options.read(contents));
  }

  get current(): Thing {
    return this.thing;
  }

  /** Calls back with each new thing. */
  onChange(listener: (thing: Thing) => void): void {
    this.#listeners.add(listener);
  }

  /** Looks at the files no more; resolves when a look that runs has ended. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#cancelTimer();
    await this.#looking;
  }

  #wait(): void {
    const { clock, everyMs } = this.options;
    this.#cancelTimer = clock.after(everyMs, () => {
      this.#looking = this.look().then(() => {
        if (!this.#closing.signal.aborted) this.#wait();
      });
    });
  }

  /** Looks at the files now. Never rejects. */
  async look(): Promise<void> {
    try {
      const contents = await readAll(this.options.paths);
      this.#refused = "";
      if (contents.every((content, at) => content.equals(this.seen[at]!))) return;
      this.seen = contents;
      this.thing = this.options.read(contents);
      for (const listener of this.#listeners) listener(this.thing);
    } catch (error) {
      this.#refuse(error as Error);
    }
  }

  /** A file that stays away is told of once. */
  #refuse(error: Error): void {
    if (this.#closing.signal.aborted || error.message === this.#refused) return;
    this.#refused = error.message;
    this.options.onRefused(error);
  }
}

function readAll(paths: readonly string[]): Promise<Buffer[]> {
  return Promise.all(paths.map((path) => readFile(path)));
}
