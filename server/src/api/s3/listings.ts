import { CacheError } from "@frontcache/proto";
import type { Listing } from "../../origin/origin.js";
import type { Cache } from "../../routing/cache.js";
import type { HttpContext } from "../http/http-context.js";
import type { FirstListRequest, ListRequest } from "./list-request.js";
import { firstListingXml, listingXml } from "./listing-xml.js";

type Asking = Pick<HttpContext, "principal" | "signal">;

/** Pages without objects in a row, from a store that says that more follow. */
const MAX_EMPTY_PAGES = 1_000;

/** The answer to ListObjectsV2. */
export async function listObjectsV2(cache: Pick<Cache, "ask">, request: ListRequest, asking: Asking): Promise<string> {
  return listingXml(request, await listPage(cache, request, asking));
}

/**
 * The answer to ListObjects, made of pages of the second form: all stores have that one or are asked as if they had it. An answer that
 * is not the last one must name at least one object or prefix, for clients continue after it.
 */
export async function listObjects(cache: Pick<Cache, "ask">, request: FirstListRequest, asking: Asking): Promise<string> {
  const { marker, page } = request;
  let from = page;
  for (let pages = 1; pages <= MAX_EMPTY_PAGES; pages++) {
    const { objects, prefixes: all, nextToken } = await listPage(cache, { ...request, page: from }, asking);
    const prefixes = all.filter((prefix) => prefix !== marker);
    const last = nextToken === undefined ? undefined : lastName({ objects, prefixes }, page.isUnordered === true);
    if (nextToken === undefined || last !== undefined) return firstListingXml(request, { objects, prefixes }, last);
    const { startAfter: _, ...rest } = page;
    from = { ...rest, token: nextToken };
  }
  throw new CacheError("UNAVAILABLE", `${request.ref.url}: the origin answers with empty pages: use ListObjectsV2`);
}

async function listPage(
  cache: Pick<Cache, "ask">,
  { ref, page }: Pick<ListRequest, "ref" | "page">,
  { principal, signal }: Asking,
): Promise<Listing> {
  if (page.maxKeys > 0) return cache.ask({ kind: "list", ref, page, principal, signal });
  // A store need list nothing, and GCS rejects such a request.
  await cache.ask({ kind: "statBucket", ref, principal, signal });
  return { objects: [], prefixes: [] };
}

/** The last name of a page in byte order. Of an unordered page: the last object. */
function lastName({ objects, prefixes }: Pick<Listing, "objects" | "prefixes">, isUnordered: boolean): string | undefined {
  const [key, prefix] = [objects.at(-1)?.key, prefixes.at(-1)];
  if (key === undefined || prefix === undefined) return key ?? prefix;
  if (isUnordered) return key;
  return Buffer.compare(Buffer.from(key), Buffer.from(prefix)) > 0 ? key : prefix;
}
