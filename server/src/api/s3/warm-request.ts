import { CacheError, type ErrorCode, errorTable, type ObjectRef, type WarmProgress } from "@frontcache/proto";
import type { RequestContext } from "../../origin/origin.js";
import type { Cache } from "../../routing/cache.js";

/** Blocks that are fetched at a time for one request. */
const CONCURRENCY = 4;

/** Has an object fetched into the cache, each block by its owner. Rejects with the object's error; an abort ends it. */
export async function warmObject(cache: Pick<Cache, "ask">, ref: ObjectRef, context: RequestContext): Promise<void> {
  let last: WarmProgress | undefined;
  const report = async (progress: WarmProgress): Promise<void> => {
    last = progress;
  };
  const objects = [{ ref, version: undefined }];
  await cache.ask({ kind: "warm", objects, prefixes: [], concurrency: CONCURRENCY, dryRun: false, report, ...context });
  if (last === undefined || last.error === "") return;
  const code = Object.hasOwn(errorTable, last.errorCode) ? (last.errorCode as ErrorCode) : "INTERNAL";
  throw new CacheError(code, last.error);
}
