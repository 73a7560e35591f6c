import { readFile } from "node:fs/promises";
import type { Clock } from "../runtime/clock.js";

/** Files that together have one meaning, and that can be replaced while the process runs. */
export interface WatchedFilesOptions<Thing> {
  readonly paths: readonly string[];
  /** Parses the files' contents, in the order of `paths`. Throws if they cannot be used, for example half of a new pair. */
  readonly read: (contents: readonly Buffer[]) => Thing;
  /** A change cannot be used; the last good contents stay in use. Called once per such change. */
  readonly onRefused: (error: Error) => void;
  /**
   * Whether a change is used only when two polls in a row find it, because a file that is being written may be valid in part. Absent: no.
   */
  readonly waitsForWriters?: boolean | undefined;
  /** Polling interval, milliseconds. Kubernetes replaces a mounted secret through a symbolic link, which file watchers miss. */
  readonly everyMs: number;
  readonly clock: Clock;
}

/** The current meaning of some files: read at the start, and again whenever their contents change. */
export class WatchedFiles<Thing> {
  readonly #options: WatchedFilesOptions<Thing>;
  readonly #listeners = new Set<(thing: Thing) => void>();
  readonly #closing = new AbortController();
  /** The contents that were read last, good or not. */
  #contents: readonly Buffer[];
  #thing: Thing;
  #revision = 0;
  /** A change that is used if the next poll finds it again. */
  #pending: readonly Buffer[] | undefined;
  #cancelTimer: () => void = () => {};
  #polling: Promise<void> = Promise.resolve();
  /** The last reported problem; empty after the files could be read again. */
  #refused = "";

  private constructor(options: WatchedFilesOptions<Thing>, contents: readonly Buffer[]) {
    this.#options = options;
    this.#contents = contents;
    this.#thing = options.read(contents);
    this.#wait();
  }

  /** Rejects with the system's error if a file cannot be read, or with the error of `read`. */
  static async open<Thing>(options: WatchedFilesOptions<Thing>): Promise<WatchedFiles<Thing>> {
    return new WatchedFiles(options, await readAll(options.paths));
  }

  get current(): Thing {
    return this.#thing;
  }

  /** Grows with every change that is in use. */
  get revision(): number {
    return this.#revision;
  }

  /** Calls the listener after each change. */
  onChange(listener: (thing: Thing) => void): void {
    this.#listeners.add(listener);
  }

  /** Stops polling; resolves when a running poll has ended. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#cancelTimer();
    await this.#polling;
  }

  #wait(): void {
    const { clock, everyMs } = this.#options;
    this.#cancelTimer = clock.after(everyMs, () => {
      this.#polling = this.poll().then(() => {
        if (!this.#closing.signal.aborted) this.#wait();
      });
    });
  }

  /** Reads the files now. Never rejects. */
  async poll(): Promise<void> {
    try {
      const contents = await readAll(this.#options.paths);
      this.#refused = "";
      const isLike = (others: readonly Buffer[]): boolean => contents.every((content, at) => content.equals(others[at]!));
      const pending = this.#pending;
      this.#pending = undefined;
      if (isLike(this.#contents)) return;
      if (this.#options.waitsForWriters === true && (pending === undefined || !isLike(pending))) {
        this.#pending = contents;
        return;
      }
      this.#contents = contents;
      this.#thing = this.#options.read(contents);
      this.#revision++;
      for (const listener of this.#listeners) listener(this.#thing);
    } catch (error) {
      this.#refuse(error as Error);
    }
  }

  /** Reports a lasting problem once. */
  #refuse(error: Error): void {
    if (this.#closing.signal.aborted || error.message === this.#refused) return;
    this.#refused = error.message;
    this.#options.onRefused(error);
  }
}

function readAll(paths: readonly string[]): Promise<Buffer[]> {
  return Promise.all(paths.map((path) => readFile(path)));
}
