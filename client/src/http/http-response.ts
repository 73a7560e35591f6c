import type { ResponseHead } from "./response-head.js";

/** Receives the bytes of a body in memory of its own. */
export interface Landing {
  /** Where the next bytes go: room for at least one. The writer reports them by `landed`. */
  room(): Buffer;
  /** The first `bytes` of the room are written. An error thrown here ends the body. */
  landed(bytes: number): void;
}

/** The body of a response. Nothing is received before `land`. A body that is not landed must be destroyed, unless it is `complete`. */
export interface HttpBody {
  /** Whether all its bytes have arrived. They may wait for `land`. */
  readonly complete: boolean;
  /**
   * Writes all bytes, in order, into the landing's room; once. Undefined: all have landed already, because they arrived with the head.
   * Rejects if the body ends early: with the connection's error, with `abortError` of the request's signal, or with the landing's own
   * error. Until it settles the body owns the room; afterwards it leaves the room alone.
   */
  land(landing: Landing): Promise<void> | undefined;
  /** Receives nothing more until `resume`. Bytes that were received already are still landed. */
  pause(): void;
  resume(): void;
  /**
   * Drops the outstanding bytes, and closes the connection if there are some. `land` rejects with the reason then. Harmless when
   * repeated.
   */
  destroy(reason?: Error): void;
}

/** A response whose head has arrived. */
export interface HttpResponse {
  readonly status: number;
  readonly head: ResponseHead;
  readonly body: HttpBody;
}

/** The first room for a body of unknown length. */
const FIRST_ROOM_BYTES = 4 << 10;

/**
 * Reads a whole body of bounded length. A longer one is dropped: the result is its first `maxBytes` (`cut`), or it rejects.
 */
export async function bodyBytes(body: HttpBody, maxBytes: number, excess: "cut" | "reject"): Promise<Buffer> {
  let buffer = Buffer.allocUnsafe(Math.min(FIRST_ROOM_BYTES, maxBytes + 1));
  let bytes = 0;
  const room = (): Buffer => {
    if (bytes === buffer.length) {
      const larger = Buffer.allocUnsafe(Math.min(2 * buffer.length, maxBytes + 1));
      buffer.copy(larger, 0, 0, bytes);
      buffer = larger;
    }
    return buffer.subarray(bytes);
  };
  const landed = (count: number): void => {
    bytes += count;
    if (bytes > maxBytes) throw new TooLong(maxBytes);
  };
  try {
    await body.land({ room, landed });
  } catch (error) {
    if (!(error instanceof TooLong) || excess === "reject") throw error;
    bytes = maxBytes;
  }
  return buffer.subarray(0, bytes);
}

class TooLong extends Error {
  constructor(maxBytes: number) {
    super(`the answer has more than ${maxBytes} bytes`);
  }
}
