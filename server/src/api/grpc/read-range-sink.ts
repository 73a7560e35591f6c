import type { Writable } from "node:stream";
import { type ObjectInfo, type ReadRangeResponse, readRangeResponseBytes, writeReadRangeResponse } from "@frontcache/proto";
import type { Sink } from "../sending/sending.js";

/** The methods of a ReadRange call that the sink uses: those of grpc-js's Writable, whose `_write` sends a message and `_final` the status. */
export type MessageStream = Pick<Writable, "writableLength" | "_write" | "_final"> & {
  write(message: ReadRangeResponse, taken?: () => void): unknown;
  end(): unknown;
};

const NO_BYTES = Buffer.alloc(0);
const ignore = (): void => {};

/** Sends a read as messages. The first message, even of an empty object, contains version and size. */
export class ReadRangeSink implements Sink {
  readonly #call: MessageStream;
  readonly #info: ObjectInfo;
  readonly #disconnect: () => void;
  #isFirst = true;

  constructor(call: MessageStream, info: ObjectInfo, disconnect: () => void) {
    this.#call = call;
    this.#info = info;
    this.#disconnect = disconnect;
  }

  write(bytes: Buffer, taken: () => void): void {
    this.#call.write(this.#message(bytes), taken);
  }

  /**
   * Sends the last message and the status. A Writable calls `_final` only after the last write, so that the status would take a second
   * pass through HTTP/2 and the event loop. Both are passed on in one step here, which HTTP/2 sends as one.
   */
  end(bytes = NO_BYTES): void {
    const call = this.#call;
    const message = this.#message(bytes);
    if (call.writableLength > 0) {
      call.write(message);
      call.end();
      return;
    }
    call._write(message, "utf8", ignore);
    call._final(ignore);
  }

  destroy(): void {
    this.#disconnect();
  }

  #message(data: Buffer): ReadRangeResponse {
    if (!this.#isFirst) return { data, version: "", objectSize: 0 };
    this.#isFirst = false;
    const { version, objectSize } = this.#info;
    return { data, version, objectSize };
  }
}

/**
 * A message that is serialized in its destination. grpc-js reads the `byteLength` of a serialized message, allocates a frame
 * with five more bytes, and copies the message into it. A Buffer in between would be another copy of every byte
 * (measured: 1.3 to 2 times the CPU of a whole read). Any other use throws, so that a version of grpc-js that works differently
 * fails every read and test instead of sending wrong bytes.
 */
class MessageInPlace implements Pick<Buffer, "byteLength" | "copy"> {
  readonly byteLength: number;
  readonly #message: ReadRangeResponse;

  constructor(message: ReadRangeResponse) {
    this.#message = message;
    this.byteLength = readRangeResponseBytes(message);
  }

  copy(target: Buffer, start = 0): number {
    writeReadRangeResponse(this.#message, target, start);
    return this.byteLength;
  }
}

/**
 * The serializer of a member's ReadRange. It runs inside `write` if no other message waits, and the bytes are copied out of
 * `message.data` before `write` returns.
 */
export function serializeInPlace(message: ReadRangeResponse): Buffer {
  return new MessageInPlace(message) as unknown as Buffer;
}
