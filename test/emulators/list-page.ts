import type { StoredObject } from "./objects.js";

/** What is asked of a listing. */
export interface ListedPage {
  readonly prefix: string;
  /** Empty: nothing is folded. */
  readonly delimiter: string;
  /** Objects and folded prefixes at most. */
  readonly limit: number;
  /** Only names behind it. */
  readonly after: string;
}

/** One page of a listing: objects, and what a delimiter has folded. */
export interface Page {
  readonly objects: readonly StoredObject[];
  readonly prefixes: readonly string[];
  /** The last name of a page that others follow, in base64url. */
  readonly nextToken: string | undefined;
}

/** The name that a page's token stands for. */
export function nameOfToken(token: string): string {
  return Buffer.from(token, "base64url").toString();
}

/** The page of `objects`, which are in the order of their keys' bytes. */
export function listPage(objects: readonly StoredObject[], { prefix, delimiter, limit, after }: ListedPage): Page {
  const page: StoredObject[] = [];
  const prefixes = new Set<string>();
  let last = "";
  if (limit === 0) return { objects: page, prefixes: [], nextToken: undefined };
  for (const object of objects) {
    if (!object.key.startsWith(prefix)) continue;
    const cut = delimiter === "" ? -1 : object.key.indexOf(delimiter, prefix.length);
    const name = cut < 0 ? object.key : object.key.slice(0, cut + delimiter.length);
    if (Buffer.compare(Buffer.from(name), Buffer.from(after)) <= 0 || prefixes.has(name)) continue;
    if (page.length + prefixes.size === limit) {
      return { objects: page, prefixes: [...prefixes], nextToken: Buffer.from(last).toString("base64url") };
    }
    if (cut < 0) page.push(object);
    else prefixes.add(name);
    last = name;
  }
  return { objects: page, prefixes: [...prefixes], nextToken: undefined };
}
