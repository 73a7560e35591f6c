import { close, unlink } from "node:fs";
import { Worker } from "node:worker_threads";
import { type DiskFile, type FilePiece, systemError } from "./disk.js";

/** A file that was requested and is not created yet. */
interface Request {
  readonly path: string;
  readonly pieces: readonly FilePiece[];
  readonly lengthBytes: number;
  readonly isUrgent: boolean;
  readonly resolve: (file: DiskFile) => void;
  readonly reject: (error: Error) => void;
}

/** A descriptor that is to be closed. */
interface Closing {
  readonly fd: number;
  readonly closed: () => void;
}

/** A file that is to be removed. */
interface Removal {
  readonly path: string;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

interface Failure {
  readonly code?: string;
  readonly message: string;
}

/** For each file its descriptor, or an error's code and message; for each removal its error. */
interface Answer {
  readonly created: readonly (number | Failure)[];
  readonly removed: readonly (Failure | undefined)[];
}

export interface FileCreatorOptions {
  /** Creates a file while there is no thread. */
  readonly otherwise: (path: string, pieces: readonly FilePiece[]) => Promise<DiskFile>;
  /** Makes a file of its descriptor. `close` closes a descriptor. It is the same for all files, which are many and stay open for long. */
  readonly opened: (fd: number, close: (fd: number) => Promise<void>) => DiskFile;
  /** Files that are created without a thread before one is started. Default: 32. */
  readonly startAfter?: number | undefined;
}

/** The same path from the sources and from the build. */
const THREAD = new URL("../../../threads/create-files.cjs", import.meta.url);
/** Heap limit of the thread, which needs little memory. */
const MEMORY = { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 16 };
/** A member that caches few small objects needs no thread. */
const START_AFTER = 32;
/** The largest file that is copied to the thread, footer included: for larger ones the thread pool costs little. */
const MAX_FILE_BYTES = 64 << 10;
/** Files that are sent at once. Fewer wait for others behind a message, because one costs both threads as much as ten files. */
const MANY_FILES = 16;
/** Messages with fewer files follow each other after this time, unless somebody waits for one. A file that comes alone is sent at once. */
const WAIT_MS = 4;
/** Bytes of the files that one message names. */
const SHARED_BYTES = 512 << 10;

/**
 * Creates and removes small files in a thread, as many per message as are waiting. Three calls of the thread pool cost the main thread six
 * switches for each file, which is more than the calls themselves. If no thread can be started, `otherwise` is used.
 */
export class FileCreator {
  readonly #options: FileCreatorOptions;
  #thread: Worker | undefined;
  #isReady = false;
  /** The bytes of the files that the thread creates now. */
  #shared: Uint8Array | undefined;
  #leftBeforeStart: number;
  readonly #waiting: Request[] = [];
  #running: Request[] = [];
  /** Descriptors to be closed with the next message, and those of the running one. */
  #toClose: Closing[] = [];
  #closing: Closing[] = [];
  /** Files to be removed with the next message, and those of the running one. */
  #toRemove: Removal[] = [];
  #removing: Removal[] = [];
  #timer: NodeJS.Timeout | undefined;
  #immediate: NodeJS.Immediate | undefined;
  /** When the last message was sent, monotonic milliseconds. */
  #sentMs = Number.NEGATIVE_INFINITY;
  /** Whether the thread has a message to answer. */
  #isBusy = false;
  #isClosed = false;

  constructor(options: FileCreatorOptions) {
    this.#options = options;
    this.#leftBeforeStart = options.startAfter ?? START_AFTER;
  }

  /**
   * Resolves with the open file. Do not change the bytes before. `isUrgent`: somebody waits for it, so it waits only for others of
   * the same iteration of the event loop. Rejects with the system's error.
   */
  create(path: string, pieces: readonly FilePiece[], isUrgent: boolean): Promise<DiskFile> {
    const lengthBytes = bytesOf(pieces);
    if (lengthBytes > MAX_FILE_BYTES || !this.#hasThread()) return this.#options.otherwise(path, pieces);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ path, pieces, lengthBytes, isUrgent, resolve, reject });
      this.#schedule();
    });
  }

  /** Removes a small file, with others. Rejects with the system's error. */
  remove(path: string): Promise<void> {
    if (!this.#isReady) return unlinked(path);
    return new Promise((resolve, reject) => {
      this.#toRemove.push({ path, resolve, reject });
      this.#schedule();
    });
  }

  /** Whether `create`, called now with these pieces, or `remove`, is sent to the thread. */
  usesThread(pieces: readonly FilePiece[] = []): boolean {
    return this.#isReady && bytesOf(pieces) <= MAX_FILE_BYTES;
  }

  /** Ends the thread. A thread that hangs in a system call ends with the call; nothing waits for it. */
  close(): void {
    this.#isClosed = true;
    this.#isReady = false;
    this.#thread?.unref();
    void this.#thread?.terminate();
  }

  #hasThread(): boolean {
    if (this.#isReady) return true;
    if (this.#leftBeforeStart-- === 0 && !this.#isClosed) this.#start();
    return false;
  }

  #start(): void {
    const shared = new SharedArrayBuffer(SHARED_BYTES);
    this.#shared = new Uint8Array(shared);
    // The descriptors are this thread's from their answer on: the end of the thread must not close them.
    const thread = new Worker(THREAD, { execArgv: [], resourceLimits: MEMORY, workerData: shared, trackUnmanagedFds: false });
    this.#thread = thread;
    thread.unref();
    thread.on("error", () => undefined);
    thread.once("exit", () => this.#ended());
    thread.on("message", (message: "ready" | Answer) => {
      if (message === "ready") this.#isReady = true;
      else this.#answered(message);
    });
  }

  #schedule(): void {
    if (this.#isBusy) return;
    const waitMs = this.#sentMs + WAIT_MS - performance.now();
    const many = this.#waiting.length + this.#toRemove.length >= MANY_FILES;
    if (waitMs <= 0 || many) this.#send();
    // Those of the same iteration of the event loop share its message.
    else if (this.#waiting.some(({ isUrgent }) => isUrgent)) this.#immediate ??= setImmediate(this.#send);
    else this.#timer ??= setTimeout(this.#send, waitMs);
  }

  get #isIdle(): boolean {
    return this.#waiting.length + this.#toClose.length + this.#toRemove.length === 0;
  }

  readonly #send = (): void => {
    clearTimeout(this.#timer);
    clearImmediate(this.#immediate);
    [this.#timer, this.#immediate] = [undefined, undefined];
    if (!this.#isReady || this.#isBusy || this.#isIdle) return;
    this.#isBusy = true;
    this.#sentMs = performance.now();
    const shared = this.#shared!;
    const files: (string | number[])[] = [];
    let at = 0;
    let count = 0;
    for (const { path, pieces, lengthBytes } of this.#waiting) {
      if (at + lengthBytes > shared.length) break;
      const lengths: number[] = [];
      for (const { position, sources } of pieces) {
        const start = at;
        for (const source of sources) {
          shared.set(source, at);
          at += source.length;
        }
        lengths.push(position, at - start);
      }
      files.push(path, lengths);
      count++;
    }
    this.#running = this.#waiting.splice(0, count);
    this.#thread!.ref();
    [this.#closing, this.#toClose] = [this.#toClose, []];
    [this.#removing, this.#toRemove] = [this.#toRemove, []];
    const [closed, removed] = [this.#closing.map(({ fd }) => fd), this.#removing.map((removal) => removal.path)];
    this.#thread!.postMessage({ files, closed, removed });
  };

  /** Closes a descriptor. It is closed even if that fails. */
  readonly #close = (fd: number): Promise<void> =>
    new Promise((closed) => {
      if (!this.#isReady) return close(fd, () => closed());
      this.#toClose.push({ fd, closed });
      this.#schedule();
    });

  #answered({ created, removed }: Answer): void {
    const [running, closing, removing] = [this.#running, this.#closing, this.#removing];
    [this.#running, this.#closing, this.#removing] = [[], [], []];
    this.#isBusy = false;
    this.#thread?.unref();
    if (!this.#isIdle) this.#schedule();
    for (const { closed } of closing) closed();
    for (const [i, { resolve, reject }] of removing.entries()) {
      const failure = removed[i];
      if (failure === undefined) resolve();
      else reject(systemError(failure.code ?? "EIO", failure.message));
    }
    for (const [i, result] of created.entries()) {
      const { resolve, reject } = running[i]!;
      if (typeof result === "number") resolve(this.#options.opened(result, this.#close));
      else reject(systemError(result.code ?? "EIO", result.message));
    }
  }

  /** Nobody knows which of the running files exist. A file that was removed already is missing when it is removed again. */
  #ended(): void {
    this.#isReady = false;
    this.#isBusy = false;
    this.#thread = undefined;
    for (const { closed } of this.#closing.splice(0)) closed();
    for (const { fd, closed } of this.#toClose.splice(0)) close(fd, () => closed());
    for (const { path, reject } of this.#running.splice(0))
      reject(systemError("EIO", `the thread that creates ${path} has ended`));
    for (const { path, resolve, reject } of [...this.#removing.splice(0), ...this.#toRemove.splice(0)]) {
      unlinked(path).then(resolve, reject);
    }
    for (const { path, pieces, resolve, reject } of this.#waiting.splice(0)) {
      this.#options.otherwise(path, pieces).then(resolve, reject);
    }
  }
}

/** Removes a file in the thread pool. */
export function unlinked(path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    unlink(path, (error) => (error === null ? resolve() : reject(error)));
  });
}

function bytesOf(pieces: readonly FilePiece[]): number {
  let bytes = 0;
  for (const { sources } of pieces) for (const source of sources) bytes += source.length;
  return bytes;
}
