import { type ObjectInfo, type ReadRangeResponse, readRangeResponseBytes, writeReadRangeResponse } from "@frontcache/proto";
import type { Sink } from "../sending/sending.js";

/** The part of a ReadRange call that messages are written to. */
export interface MessageStream {
  write(message: ReadRangeResponse, taken?: () => void): unknown;
  end(): unknown;
}

const NO_BYTES = Buffer.alloc(0);

/** Sends a read as messages. The first one, also that of an empty object, names version and size. */
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

  end(bytes = NO_BYTES): void {
    this.#call.write(this.#message(bytes));
    this.#call.end();
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
 * A message that is serialized where it is going. grpc-js asks a serialized message for its `byteLength`, allocates a frame
 * with five bytes more, and has the message copied into it; a Buffer in between would be one copy more of every byte
 * (measured: 1.3 to 2 times the CPU of a whole read). Any other use of it throws, so that a grpc-js that works in another way
 * fails every read and every test instead of sending something wrong.
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
