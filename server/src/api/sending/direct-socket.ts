import type { Socket } from "node:net";
import { CacheError } from "@frontcache/proto";
import type { PipedBytes } from "../../runtime/slice.js";
import type { Libc } from "../../storage/mapping/libc.js";
import type { KernelSendBuffers } from "./kernel-send-buffers.js";

/** The system calls of direct sockets. */
export interface SocketCalls extends Pick<Libc, "send" | "sendfile" | "splice" | "setsockopt" | "errno"> {
  /** Absent: sockets keep the send buffers that the kernel gives them. */
  readonly sendBuffers?: KernelSendBuffers | undefined;
}

/** The socket takes no byte now. Write some bytes through its stream: the write's callback says that it takes bytes again. */
export const FULL = 0;
/** The system call cannot be used now. Write the bytes through the stream. */
export const UNAVAILABLE = -1;

const MSG_NOSIGNAL = 0x4000;
const MSG_MORE = 0x8000;
const IPPROTO_TCP = 6;
const TCP_CORK = 3;

const SPLICE_F_MOVE = 1;
const SPLICE_F_NONBLOCK = 2;

const EINTR = 4;
const EAGAIN = 11;
const ENOMEM = 12;
const ENOBUFS = 105;
const FULL_ERRORS: ReadonlySet<number> = new Set([EINTR, EAGAIN, ENOMEM, ENOBUFS]);

const EPIPE = 32;
const ECONNRESET = 104;
const ENOTCONN = 107;
const ETIMEDOUT = 110;
const CLOSED_ERRORS: ReadonlySet<number> = new Set([EPIPE, ECONNRESET, ENOTCONN, ETIMEDOUT]);

/** Parts of at least this size that do not fit into the kernel's send buffer enlarge it. Smaller responses gain nothing by that. */
const LARGE_BYTES = 512 << 10;

/** A socket's timeout restarts after so many bytes, which pass the stream that otherwise restarts it. */
const TIMEOUT_BYTES = 16 << 20;

/** The parts of Node's handle of a socket that are used. */
interface SocketHandle {
  /** -1 if the handle is closing. */
  readonly fd?: number;
  /** Bytes that wait in libuv. */
  readonly writeQueueSize?: number;
}

/** The position argument of all calls of sendfile(2). */
const offset = new BigInt64Array(1);
const corked = new Int32Array([1]);
const uncorked = new Int32Array([0]);

/** Returns a function that sends small messages on a socket as `DirectSocket.send` does. */
export function directSendBy(calls: SocketCalls): (socket: Socket) => (bytes: Uint8Array, count: number) => number {
  return (socket) => {
    const direct = new DirectSocket(socket, calls);
    return (bytes, count) => direct.send(bytes, count, false);
  };
}

/**
 * Sends on a plain TCP socket by system calls, past Node's stream. A call is made only if no byte waits in the stream or in libuv, so
 * bytes keep their order.
 *
 * Each method reads the descriptor and makes the system call in one synchronous step. Node clears `_handle` and libuv closes the
 * descriptor in one synchronous step, too. So a descriptor that was closed, and perhaps reused for another connection, is never used.
 * For the same reason, koffi's asynchronous calls are not used.
 */
export class DirectSocket {
  readonly #socket: Socket;
  readonly #calls: SocketCalls;
  #bytesBeforeTimeout = TIMEOUT_BYTES;

  constructor(socket: Socket, calls: SocketCalls) {
    this.#socket = socket;
    this.#calls = calls;
  }

  /** Returns how many of the first `count` bytes the kernel took, or FULL or UNAVAILABLE. `isMore`: more bytes follow immediately. */
  send(bytes: Uint8Array, count: number, isMore: boolean): number {
    const descriptor = this.#descriptor();
    if (descriptor < 0) return UNAVAILABLE;
    const sent = Number(this.#calls.send(descriptor, bytes, count, isMore ? MSG_NOSIGNAL | MSG_MORE : MSG_NOSIGNAL));
    return sent >= 0 ? sent : this.#failed();
  }

  /**
   * Returns how many bytes of a file the kernel took, or FULL or UNAVAILABLE. Throws if the file ends at `position`: another program has
   * truncated it. Waits for the disk if the bytes are not in memory.
   */
  sendFile(file: number, position: number, count: number): number {
    const descriptor = this.#descriptor();
    if (descriptor < 0) return UNAVAILABLE;
    offset[0] = BigInt(position);
    let sent = Number(this.#calls.sendfile(descriptor, file, offset, count));
    if (sent < 0) return this.#failed();
    if (sent === 0) throw new CacheError("INTERNAL", `a block file ended at ${position} while its bytes were sent`);
    // The call has advanced the offset.
    const isLarge = sent < count && count >= LARGE_BYTES;
    if (isLarge && this.#calls.sendBuffers?.enlarge(this.#socket, descriptor) === true)
      sent += Math.max(0, Number(this.#calls.sendfile(descriptor, file, offset, count - sent)));
    this.#progressed(sent);
    return sent;
  }

  /** Moves bytes out of a pipe. Returns how many the kernel took, or FULL or UNAVAILABLE. */
  sendPiped(piped: PipedBytes): number {
    const descriptor = this.#descriptor();
    if (descriptor < 0) return UNAVAILABLE;
    const sent = Number(
      this.#calls.splice(piped.descriptor, null, descriptor, null, piped.count, SPLICE_F_MOVE | SPLICE_F_NONBLOCK),
    );
    if (sent < 0) return this.#failed();
    piped.moved(sent);
    this.#progressed(sent);
    return sent;
  }

  /** Holds back packets that are not full until `uncork`, for at most 200 ms. */
  cork(): void {
    this.#setCork(corked);
  }

  uncork(): void {
    this.#setCork(uncorked);
  }

  #setCork(value: Int32Array): void {
    const descriptor = this.#handle()?.fd ?? -1;
    if (descriptor >= 0) this.#calls.setsockopt(descriptor, IPPROTO_TCP, TCP_CORK, value, value.byteLength);
  }

  /** -1: the socket is closed, or bytes wait. */
  #descriptor(): number {
    const handle = this.#handle();
    if (handle === undefined || this.#socket.writableLength > 0 || handle.writeQueueSize !== 0) return -1;
    return handle.fd ?? -1;
  }

  #handle(): SocketHandle | undefined {
    const socket = this.#socket;
    const { _handle: handle } = socket as unknown as { _handle?: SocketHandle | null };
    return socket.writable ? (handle ?? undefined) : undefined;
  }

  #failed(): number {
    const errno = this.#calls.errno();
    if (FULL_ERRORS.has(errno)) return FULL;
    if (CLOSED_ERRORS.has(errno)) this.#socket.destroy();
    return UNAVAILABLE;
  }

  #progressed(bytes: number): void {
    this.#bytesBeforeTimeout -= bytes;
    if (this.#bytesBeforeTimeout > 0) return;
    this.#bytesBeforeTimeout = TIMEOUT_BYTES;
    const { timeout } = this.#socket;
    if (timeout !== undefined && timeout > 0) this.#socket.setTimeout(timeout);
  }
}
