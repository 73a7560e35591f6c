import { CacheError } from "@frontcache/proto";
import { freeMemory } from "../../../runtime/free-memory.js";
import type { ReceivedPieces } from "../../../writes/payload.js";
import type { HttpContext, Upload } from "../../http/http-context.js";

/** A client that sends nothing for so long has failed. S3's limit. */
const IDLE_MS = 20_000;
/** Bytes that may wait for whoever reads them. Then the client is made to wait. */
const QUEUED_BYTES = 512 << 10;

/**
 * The bytes of a body as they arrive. The client is asked for them when the first one is read. Throws S3's error if the client stops
 * sending, and CANCELLED if it disconnects. The memory of pieces is freed when later ones were taken.
 */
export function receivedBytes(upload: Upload, { clock }: Pick<HttpContext, "clock">): ReceivedPieces {
  const used: Buffer[] = [];
  const pieces = receive(upload, clock, used);
  const taken = ({ buffer }: Uint8Array): void => {
    // Pieces are taken in order. A piece may be a part of one that was received, or have been made anew.
    const at = used.findIndex((each) => each.buffer === buffer);
    for (let freed = 0; freed < at; freed++) freeMemory(used.shift()!);
  };
  return { [Symbol.asyncIterator]: () => pieces, taken };
}

/** `used` gets each piece that was read. */
async function* receive({ body, proceed }: Upload, clock: HttpContext["clock"], used: Buffer[]): AsyncGenerator<Buffer, void> {
  let queue: Buffer[] = [];
  let [queuedBytes, movedAtMs, isWaiting, isOver] = [0, clock.monotonicMs(), false, false];
  let failure: CacheError | undefined;
  let wake = (): void => {};
  const onData = (bytes: Buffer): void => {
    queue.push(bytes);
    queuedBytes += bytes.length;
    if (queuedBytes >= QUEUED_BYTES) body.pause();
    wake();
  };
  const onEnd = (): void => {
    isOver = true;
    wake();
  };
  const onClose = (cause?: Error): void => {
    failure ??= new CacheError("CANCELLED", "the client disconnected before the end of its body", { cause });
    wake();
  };
  // One timer for the whole body: it looks at when something arrived.
  const watch = (afterMs: number): (() => void) =>
    clock.after(afterMs, () => {
      const leftMs = isWaiting ? movedAtMs + IDLE_MS - clock.monotonicMs() : IDLE_MS;
      if (leftMs > 0) cancel = watch(leftMs);
      else {
        const message = `The client sent nothing for ${IDLE_MS} ms.`;
        failure ??= new CacheError("DEADLINE_EXCEEDED", message, { s3Code: "RequestTimeout" });
        wake();
      }
    });
  let cancel = watch(IDLE_MS);
  if (body.readableEnded) isOver = true;
  else if (body.destroyed) onClose();
  body.on("data", onData).on("end", onEnd).on("error", onClose).on("close", onClose);
  try {
    proceed?.();
    for (;;) {
      if (queue.length > 0) {
        const received = queue;
        [queue, queuedBytes] = [[], 0];
        if (body.isPaused()) body.resume();
        for (const piece of received) {
          used.push(piece);
          yield piece;
        }
      } else if (isOver) return;
      else if (failure !== undefined) throw failure;
      else {
        [isWaiting, movedAtMs] = [true, clock.monotonicMs()];
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        isWaiting = false;
      }
    }
  } finally {
    cancel();
    body.off("data", onData).off("end", onEnd).off("close", onClose);
    if (!isOver) body.pause();
  }
}
