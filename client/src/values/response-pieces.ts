import { CacheError } from "@frontcache/proto";
import type { HttpBody } from "../http/http-response.js";

/** Bytes that are received at a time. */
const ROOM_BYTES = 256 << 10;
/** Bytes that may wait for the consumer. Then the body is paused. */
const MAX_WAITING_BYTES = 2 << 20;

/** The bytes of a body as they arrive, with backpressure. Ending the loop early closes the connection. */
export async function* bodyPiecesOf(body: HttpBody, url: string): AsyncGenerator<Buffer, void> {
  const waiting: Buffer[] = [];
  let waitingBytes = 0;
  let end: "ended" | Error | undefined;
  let wake = (): void => {};
  let room = Buffer.allocUnsafeSlow(ROOM_BYTES);
  const landing = {
    room: (): Buffer => room,
    landed: (bytes: number): void => {
      waiting.push(room.subarray(0, bytes));
      waitingBytes += bytes;
      room = room.length - bytes > ROOM_BYTES / 4 ? room.subarray(bytes) : Buffer.allocUnsafeSlow(ROOM_BYTES);
      if (waitingBytes >= MAX_WAITING_BYTES) body.pause();
      wake();
    },
  };
  body.land(landing).then(
    () => {
      end = "ended";
      wake();
    },
    (error: Error) => {
      end = error;
      wake();
    },
  );
  try {
    for (;;) {
      const piece = waiting.shift();
      if (piece !== undefined) {
        waitingBytes -= piece.length;
        if (waitingBytes + piece.length >= MAX_WAITING_BYTES && waitingBytes < MAX_WAITING_BYTES) body.resume();
        yield piece;
      } else if (end === "ended") return;
      else if (end !== undefined) {
        if (end instanceof CacheError) throw end;
        throw new CacheError("UNAVAILABLE", `${url}: the value ended early: its writer or the member has ended`, { cause: end });
      } else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  } finally {
    if (end === undefined) body.destroy();
  }
}

/** The lines of a text, without their ends. */
export async function* linesOf(pieces: AsyncIterable<Buffer>): AsyncGenerator<string, void> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const piece of pieces) {
    const lines = (rest + decoder.decode(piece, { stream: true })).split("\n");
    rest = lines.pop()!;
    yield* lines;
  }
}
