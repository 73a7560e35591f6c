import type { StoredObject } from "./objects.js";

/** The query of a listing. */
export interface ListedPage {
  readonly prefix: string;
  /** Empty: keys are not grouped. */
  readonly delimiter: string;
  /** Maximum number of objects and common prefixes. */
  readonly limit: number;
  /** Only names after this one. */
  readonly after: string;
}

/** One page of a listing: objects and common prefixes. */
export interface Page {
  readonly objects: readonly StoredObject[];
  readonly prefixes: readonly string[];
  /** Token of the next page: the last name of this page in base64url. */
  readonly nextToken: string | undefined;
}

/** Returns the name in a page token. */
export function nameOfToken(token: string): string {
  return Buffer.from(token, "base64url").toString();
}

/** Returns a page of `objects`, which are sorted by the bytes of their keys. */
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
