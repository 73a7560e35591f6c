import { ResponseHead } from "../http/response-head.js";
import { ResponseReader } from "../http/response-reader.js";

/** A response as the HTTP client receives it. */
export interface ReceivedResponse {
  readonly status: number;
  readonly head: ResponseHead;
  readonly body: Buffer;
  /** Received bytes up to its end, if each piece has one byte. */
  readonly wireBytes: number;
  /** Whether its connection may be used again. */
  readonly keepAlive: boolean;
}

const ROOM_BYTES = 7;

class Receiver extends ResponseReader<ResponseHead> {
  head: ResponseHead | undefined;
  readonly landedBytes: Buffer[] = [];
  readonly #room = Buffer.alloc(ROOM_BYTES);

  protected parseHead(text: string): ResponseHead {
    return new ResponseHead(text);
  }

  protected onHead(head: ResponseHead): void {
    this.head = head;
  }

  protected bodyRoom(): Buffer {
    return this.#room;
  }

  protected bodyLanded(bytes: number): boolean {
    this.landedBytes.push(Buffer.from(this.#room.subarray(0, bytes)));
    return true;
  }

  protected keep(): void {
    throw new Error("there is room for every byte");
  }
}

/**
 * Receives a response in these pieces, and then the end of its connection. Throws InvalidResponse; undefined: it is incomplete. What
 * follows a complete response in later pieces is ignored, as it is by a connection, which closes then.
 */
export function receiveResponse(pieces: Iterable<Buffer>, maxHeadBytes: number): ReceivedResponse | undefined {
  const receiver = new Receiver(maxHeadBytes);
  let wireBytes = 0;
  for (const piece of pieces) {
    wireBytes += piece.length;
    for (let at = 0; at < piece.length && !receiver.complete; ) {
      const room = receiver.room();
      if (room === undefined) {
        receiver.take(piece.subarray(at));
        at = piece.length;
      } else {
        const copied = piece.copy(room, 0, at);
        at += copied;
        receiver.landed(copied);
      }
    }
    if (receiver.complete) break;
  }
  if (!receiver.complete && !receiver.ended()) return undefined;
  const { head, landedBytes, keepAlive } = receiver;
  return { status: head!.status, head: head!, body: Buffer.concat(landedBytes), wireBytes, keepAlive };
}
