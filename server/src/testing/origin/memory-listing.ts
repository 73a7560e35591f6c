import { CacheError, type PrefixRef } from "@frontcache/proto";
import type { ListedObject, Listing, ListPage } from "../../origin/origin.js";
import type { MemoryObjects } from "./memory-objects.js";

/** A page of what a simulated store holds; tokens are the last name of a page. Throws NOT_FOUND where the bucket holds nothing. */
export function memoryListing(objects: MemoryObjects, ref: PrefixRef, page: ListPage): Listing {
  const root = `${ref.scheme}://${ref.bucket}/`;
  if (objects.under(root).length === 0) throw new CacheError("NOT_FOUND", `${ref.url}: no such bucket`);
  const { delimiter, maxKeys, token, startAfter } = page;
  const after = Buffer.from(token ?? startAfter ?? "");
  const listed: ListedObject[] = [];
  const prefixes = new Set<string>();
  let last = "";
  for (const url of objects.under(root + ref.prefix)) {
    const key = url.slice(root.length);
    const cut = delimiter === "" ? -1 : key.indexOf(delimiter, ref.prefix.length);
    const name = cut < 0 ? key : key.slice(0, cut + delimiter.length);
    if (Buffer.compare(Buffer.from(name), after) <= 0 || prefixes.has(name)) continue;
    if (listed.length + prefixes.size === maxKeys) return { objects: listed, prefixes: [...prefixes], nextToken: last };
    last = name;
    if (cut >= 0) prefixes.add(name);
    else {
      const { contentType: _, ...info } = objects.get(url)!.info;
      listed.push({ key, ...info });
    }
  }
  return { objects: listed, prefixes: [...prefixes] };
}
