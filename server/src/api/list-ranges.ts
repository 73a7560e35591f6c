import { CacheError } from "@frontcache/proto";
import type { ListedObject, Listing, ListQuestion } from "../origin/origin.js";
import type { Cache } from "../routing/cache.js";

/** Where a listing of several ranges continues. */
interface Position {
  readonly range: string;
  /** The origin's token inside the range; undefined: the range begins. */
  readonly token: string | undefined;
  /** Only keys after this one. */
  readonly startAfter: string | undefined;
}

/**
 * A page of a listing of which only the keys in some ranges may be shown. Each range is listed by itself, so that neither names nor
 * continuation tokens reveal other keys. `ranges`: beginnings of keys within the question's prefix, sorted and disjoint, at least one.
 */
export async function listRanges(question: ListQuestion, ranges: readonly string[], next: Pick<Cache, "ask">): Promise<Listing> {
  const { ref, page } = question;
  const position = page.token === undefined || page.token === "" ? undefined : parseToken(page.token);
  const startAfter = position === undefined ? page.startAfter : position.startAfter;
  const first = position === undefined ? 0 : ranges.indexOf(position.range);
  if (first < 0) throw wrongToken();
  const prefixes: string[] = [];
  for (let at = first; at < ranges.length; at++) {
    const range = ranges[at]!;
    const folder = commonPrefix(range, ref.prefix, page.delimiter);
    if (folder !== undefined) {
      if (isAfter(folder, startAfter) && prefixes.at(-1) !== folder) prefixes.push(folder);
      if (prefixes.length < page.maxKeys) continue;
      return { objects: [], prefixes, nextToken: tokenAt(ranges[at + 1], undefined, startAfter) };
    }
    const { token: _, startAfter: __, ...rest } = page;
    const listing = await next.ask({
      ...question,
      ref: { ...ref, url: `${ref.scheme}://${ref.bucket}/${range}`, prefix: range },
      page: {
        ...rest,
        maxKeys: page.maxKeys - prefixes.length,
        ...(at === first && position?.token !== undefined
          ? { token: position.token }
          : startAfter !== undefined && { startAfter }),
      },
    });
    const { nextToken, ...listed } = listing;
    const following = nextToken === undefined ? ranges[at + 1] : range;
    return joined(listed, prefixes, tokenAt(following, nextToken, startAfter));
  }
  return { objects: [], prefixes };
}

function joined(listing: Omit<Listing, "nextToken">, prefixes: readonly string[], nextToken: string | undefined): Listing {
  const objects: readonly ListedObject[] = listing.objects;
  return { ...listing, objects, prefixes: [...prefixes, ...listing.prefixes], ...(nextToken !== undefined && { nextToken }) };
}

/** The common prefix that stands for a whole range; undefined: the range's keys are listed. */
function commonPrefix(range: string, prefix: string, delimiter: string): string | undefined {
  if (delimiter === "") return undefined;
  const at = range.indexOf(delimiter, prefix.length);
  return at < 0 ? undefined : range.slice(0, at + delimiter.length);
}

/** Names are compared as S3 compares them, by their bytes. */
function isAfter(name: string, startAfter: string | undefined): boolean {
  return startAfter === undefined || Buffer.compare(Buffer.from(name), Buffer.from(startAfter)) > 0;
}

function tokenAt(range: string | undefined, token: string | undefined, startAfter: string | undefined): string | undefined {
  if (range === undefined) return undefined;
  return Buffer.from(JSON.stringify([range, token ?? null, startAfter ?? null])).toString("base64url");
}

function parseToken(text: string): Position {
  let parsed: unknown;
  try {
    parsed = JSON.parse(Buffer.from(text, "base64url").toString());
  } catch {
    throw wrongToken();
  }
  const [range, token, startAfter] = Array.isArray(parsed) ? (parsed as unknown[]) : [];
  const isOptional = (value: unknown): value is string | null => value === null || typeof value === "string";
  if (typeof range !== "string" || !isOptional(token) || !isOptional(startAfter)) throw wrongToken();
  return { range, token: token ?? undefined, startAfter: startAfter ?? undefined };
}

function wrongToken(): CacheError {
  return new CacheError("INVALID_ARGUMENT", "The continuation token provided is incorrect: list from the beginning");
}
