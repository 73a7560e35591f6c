import { abortError, CacheError } from "@frontcache/proto";
import { LinkedAbort, untilAborted } from "@frontcache/proto/runtime";
import type { ServiceError } from "@grpc/grpc-js";
import type { WarmedBlock, WarmRequest } from "../cache/block-warmer.js";
import type { MemberLink } from "./member-link.js";

/** How long an answer may take before it is made sure that the member is still there: its origin may be slow. */
const SILENT_MS = 1_000;

/** Has another member warm a block. Rejects with OutOfReach, the member's own error, or the signal's reason. */
export async function forwardWarm(link: MemberLink, request: WarmRequest): Promise<WarmedBlock> {
  const { ref, version, blockOffset, objectSize, dryRun, signal } = request;
  if (!link.connected) await untilAborted(link.connect(), signal);
  const gone = new LinkedAbort(signal);
  const stopWatching = watch(link, gone);
  try {
    const message = { keys: [ref.url], prefixes: [], version: version ?? "", concurrency: 0, dryRun };
    const block = { offset: blockOffset, objectSize: objectSize ?? 0 };
    const answer = await link.warm({ ...message, block }, gone.signal);
    const { cachedBytes, doneBytes, totalBytes } = answer;
    return { version: answer.version, objectSize: totalBytes, cachedBytes, fetchedBytes: doneBytes - cachedBytes };
  } catch (error) {
    if (signal.aborted) throw abortError(signal);
    if (gone.signal.aborted) throw gone.signal.reason;
    throw error instanceof CacheError ? error : link.error(error as ServiceError);
  } finally {
    stopWatching();
    gone.unlink();
  }
}

/** Looks for the member now and then, and aborts `gone` when it is not there. */
function watch(link: MemberLink, gone: LinkedAbort): () => void {
  let cancel = (): void => {};
  let ended = false;
  const wait = (): void => {
    if (ended) return;
    cancel = link.clock.after(SILENT_MS, () => void link.probe().then(wait, (outOfReach) => gone.abort(outOfReach)));
  };
  wait();
  return () => {
    ended = true;
    cancel();
  };
}
