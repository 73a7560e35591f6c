import { CacheError, type PrefixRef } from "@frontcache/proto";
import type { ListedObject, Origin } from "./origin.js";

/** What both stores give at a time, at most. */
const MAX_KEYS = 1_000;

/** All objects under a prefix, in the order of their keys' bytes; the next page is asked for when the last one is used up. */
export async function* listAll(origin: Pick<Origin, "list">, ref: PrefixRef, signal: AbortSignal): AsyncGenerator<ListedObject> {
  let token: string | undefined;
  do {
    const page = { delimiter: "", maxKeys: MAX_KEYS, ...(token !== undefined && { token }) };
    const { objects, nextToken } = await origin.list(ref, page, signal);
    yield* objects;
    if (nextToken !== undefined && nextToken === token) {
      throw new CacheError("UNAVAILABLE", `${ref.url}: the origin's listing does not get on`);
    }
    token = nextToken;
  } while (token !== undefined);
}
