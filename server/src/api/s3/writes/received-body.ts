import { CacheError } from "@frontcache/proto";
import type { HttpContext, Upload } from "../../http/http-context.js";

/** A client that sends nothing for so long has failed. S3's limit. */
const IDLE_MS = 20_000;

/**
 * The bytes of a body as they arrive. The client is asked for them when the first one is read. Throws S3's error if the client stops
 * sending, and CANCELLED if it disconnects.
 */
export async function* receivedBytes(
  { body, proceed }: Upload,
  { clock }: Pick<HttpContext, "clock">,
): AsyncGenerator<Buffer, void> {
  proceed?.();
  const timeout = new CacheError("DEADLINE_EXCEEDED", `The client sent nothing for ${IDLE_MS} ms.`, { s3Code: "RequestTimeout" });
  const chunks = body.iterator({ destroyOnReturn: false }) as AsyncIterableIterator<Buffer>;
  let [movedAtMs, isWaiting, isOver] = [clock.monotonicMs(), false, false];
  let onTimeout = (): void => {};
  // One timer for the whole body: it looks at when something arrived.
  const watch = (afterMs: number): (() => void) =>
    clock.after(afterMs, () => {
      const leftMs = isWaiting ? movedAtMs + IDLE_MS - clock.monotonicMs() : IDLE_MS;
      if (leftMs > 0) cancel = watch(leftMs);
      else onTimeout();
    });
  let cancel = watch(IDLE_MS);
  try {
    for (;;) {
      isWaiting = true;
      movedAtMs = clock.monotonicMs();
      const { done, value } = await new Promise<IteratorResult<Buffer>>((resolve, reject) => {
        onTimeout = () => reject(timeout);
        chunks.next().then(resolve, (cause: unknown) => reject(disconnected(cause)));
      });
      isWaiting = false;
      if (done === true) {
        isOver = true;
        return;
      }
      yield value;
    }
  } finally {
    cancel();
    if (!isOver) body.pause();
  }
}

function disconnected(cause: unknown): CacheError {
  return new CacheError("CANCELLED", "the client disconnected before the end of its body", { cause });
}
