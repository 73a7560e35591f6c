import { CacheError, type ObjectRef } from "@frontcache/proto";
import { LinkedAbort } from "@frontcache/proto/runtime";
import type { HttpContext } from "../http/http-context.js";

/** The deadline of a request. */
export interface Deadline {
  /** Monotonic milliseconds. */
  readonly atMs: number;
  /** Linked to the connection's signal. */
  readonly abort: LinkedAbort;
  /** Frees the timer and the link. */
  cancel(): void;
}

/** Returns the deadline of a request whose client waits so long. */
export function deadlineOf({ clock, signal }: HttpContext, { url }: ObjectRef, timeoutMs: number): Deadline {
  const abort = new LinkedAbort(signal);
  const message = `${url}: not done within the client's ${timeoutMs} ms`;
  const cancelTimer = clock.after(timeoutMs, () => abort.abort(new CacheError("DEADLINE_EXCEEDED", message)));
  const cancel = (): void => {
    cancelTimer();
    abort.unlink();
  };
  return { atMs: clock.monotonicMs() + timeoutMs, abort, cancel };
}
