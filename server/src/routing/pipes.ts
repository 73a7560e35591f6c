import { closeSync, readSync } from "node:fs";
import { CacheError } from "@frontcache/proto";
import type { PipedBytes, Slice } from "../runtime/slice.js";
import type { Libc } from "../storage/mapping/libc.js";

/** The system calls of pipes. */
export type PipeCalls = Pick<Libc, "pipe2" | "fcntl" | "splice" | "errno">;

/** Maximum pipes of a member. If all of them have bytes that wait for slow clients, further bytes pass through memory. */
const MOST_PIPES = 32;
/** Requested capacity of a pipe. The kernel may allow less: then it stays at 64 KiB. */
const PIPE_BYTES = 1 << 20;

const O_NONBLOCK = 0o4_000;
const O_CLOEXEC = 0o2_000_000;
const F_SETPIPE_SZ = 1031;
const SPLICE_F_MOVE = 1;
const SPLICE_F_NONBLOCK = 2;

const NO_BYTES = Buffer.alloc(0);

const descriptors = new Int32Array(2);

/** The pipes through which the kernel moves bytes of other members to clients. */
export class Pipes {
  readonly #calls: PipeCalls;
  readonly #unused: Pipe[] = [];
  #open = 0;
  #isClosed = false;

  constructor(calls: PipeCalls) {
    this.#calls = calls;
  }

  /** Number of pipes, in use or not. */
  get open(): number {
    return this.#open;
  }

  /** Number of pipes that were taken and not given back. */
  get inUse(): number {
    return this.#open - this.#unused.length;
  }

  /** Whether `take` may return a pipe. */
  get available(): boolean {
    return this.#unused.length > 0 || this.#open < MOST_PIPES;
  }

  /** Returns an empty pipe; undefined: all are in use, or the system has none. `Pipe.release` gives it back. */
  take(): Pipe | undefined {
    const unused = this.#unused.pop();
    if (unused !== undefined || !this.available || this.#isClosed) return unused;
    if (this.#calls.pipe2(descriptors, O_NONBLOCK | O_CLOEXEC) !== 0) return undefined;
    const [readEnd, writeEnd] = descriptors as unknown as [number, number];
    this.#calls.fcntl(writeEnd, F_SETPIPE_SZ, PIPE_BYTES);
    this.#open++;
    return new Pipe(readEnd, writeEnd, this.#calls, this.#released);
  }

  /** Closes all unused pipes, and the others when they are released. */
  close(): void {
    this.#isClosed = true;
    for (const pipe of this.#unused.splice(0)) this.#drop(pipe);
  }

  /** A pipe with bytes that nobody wants is closed, so that they never reach another client. */
  readonly #released = (pipe: Pipe): void => {
    if (pipe.count === 0 && !this.#isClosed) this.#unused.push(pipe);
    else this.#drop(pipe);
  };

  #drop(pipe: Pipe): void {
    this.#open--;
    pipe.close();
  }
}

/** A pipe of the kernel, for one user at a time. */
export class Pipe implements PipedBytes {
  readonly descriptor: number;
  readonly #writeEnd: number;
  readonly #calls: PipeCalls;
  readonly #released: (pipe: Pipe) => void;
  #count = 0;

  constructor(readEnd: number, writeEnd: number, calls: PipeCalls, released: (pipe: Pipe) => void) {
    this.descriptor = readEnd;
    this.#writeEnd = writeEnd;
    this.#calls = calls;
    this.#released = released;
  }

  get count(): number {
    return this.#count;
  }

  /** Moves bytes of a socket into the pipe. Returns their number; 0 or less: none. */
  readonly fill = (socket: number, mostBytes: number): number => {
    const most = Math.min(mostBytes, PIPE_BYTES);
    const bytes = Number(this.#calls.splice(socket, null, this.#writeEnd, null, most, SPLICE_F_MOVE | SPLICE_F_NONBLOCK));
    if (bytes > 0) this.#count += bytes;
    return bytes;
  };

  moved(bytes: number): void {
    this.#count -= bytes;
  }

  read(mostBytes: number): Buffer {
    const bytes = Buffer.allocUnsafe(Math.min(mostBytes, this.#count));
    for (let at = 0; at < bytes.length; ) {
      const read = readSync(this.descriptor, bytes, at, bytes.length - at, null);
      if (read === 0) throw new CacheError("INTERNAL", "a pipe has lost bytes");
      at += read;
    }
    this.#count -= bytes.length;
    return bytes;
  }

  /** Gives the pipe back, empty or not. */
  release(): void {
    this.#released(this);
  }

  close(): void {
    closeSync(this.descriptor);
    closeSync(this.#writeEnd);
  }
}

/** Bytes in memory, and bytes in a pipe behind them. Pipes are scarce. */
export class PipedSlice implements Slice {
  readonly bytes: Buffer;
  readonly piped: Pipe;
  readonly scarce = true;
  readonly #first: Slice | undefined;

  constructor(first: Slice | undefined, piped: Pipe) {
    this.bytes = first?.bytes ?? NO_BYTES;
    this.piped = piped;
    this.#first = first;
  }

  release(): void {
    this.#first?.release();
    this.piped.release();
  }
}
