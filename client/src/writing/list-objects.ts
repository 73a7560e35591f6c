import { CacheError, type PrefixRef, parsePrefixUrl, versionOfStoreTag } from "@frontcache/proto";
import { contentsOf, textOf, wholeTextOf } from "../members/http/xml-text.js";
import type { RunningCall } from "../members/running-call.js";
import type { CallOptions } from "../options.js";
import { bucketPath, type SendWith, send } from "./sending.js";

/** An object in a listing. */
export interface ListedObject {
  readonly url: string;
  readonly size: number;
  /** Undefined: the listing does not say. */
  readonly version: string | undefined;
  /** Milliseconds since 1970. */
  readonly lastModifiedMs: number;
}

/** Objects that a listing does not name one by one, because the delimiter follows their common prefix. */
export interface ListedPrefix {
  /** With the delimiter at its end. */
  readonly prefix: string;
}

/** Options of `list`. */
export interface ListOptions extends CallOptions {
  /** Lists what has this text after the prefix as one ListedPrefix, for example `/` for the contents of one folder. */
  readonly delimiter?: string | undefined;
  /** Lists only what comes after this URL. */
  readonly after?: string | undefined;
}

export const LIST_OPTIONS: ReadonlySet<string> = new Set<keyof ListOptions>(["signal", "deadlineMs", "delimiter", "after"]);

/** A page of a listing. */
export interface ListedPage {
  readonly entries: readonly (ListedObject | ListedPrefix)[];
  /** Names the next page; undefined: this is the last one. */
  readonly nextToken: string | undefined;
}

/** Requests one page of the objects whose URLs begin with `url`. */
export async function listPage(
  url: string,
  { delimiter, after }: Pick<ListOptions, "delimiter" | "after">,
  token: string | undefined,
  using: SendWith,
  call: RunningCall,
): Promise<ListedPage> {
  const ref = parsePrefixUrl(url);
  const parameters = new URLSearchParams({ "list-type": "2", "encoding-type": "url", prefix: ref.prefix });
  if (delimiter !== undefined) parameters.set("delimiter", delimiter);
  if (after !== undefined) parameters.set("start-after", parsePrefixUrl(after).prefix);
  if (token !== undefined) parameters.set("continuation-token", token);
  // A space is %20, since not every server reads a plus sign as one.
  const path = `${bucketPath(url)}?${parameters.toString().replaceAll("+", "%20")}`;
  const { text } = await send({ method: "GET", subject: url, path, headers: {}, isRepeatable: true }, using, call);
  const nextToken = textOf(text, "IsTruncated") === "true" ? wholeTextOf(text, "NextContinuationToken") : undefined;
  return { entries: [...listedIn(text, ref)], nextToken };
}

function* listedIn(text: string, { url, scheme, bucket }: PrefixRef): Generator<ListedObject | ListedPrefix, void> {
  const urlOf = (name: string): string => `${scheme}://${bucket}/${decodeURIComponent(name.replaceAll("+", "%20"))}`;
  for (const entry of contentsOf(text, "Contents")) {
    const [name, size] = [wholeTextOf(entry, "Key"), Number(textOf(entry, "Size") ?? Number.NaN)];
    if (name === undefined || !Number.isSafeInteger(size)) {
      throw new CacheError("INTERNAL", `${url}: a listing has an entry without a key and a size`);
    }
    const lastModifiedMs = Date.parse(textOf(entry, "LastModified") ?? "");
    yield { url: urlOf(name), size, version: versionOfStoreTag(textOf(entry, "ETag")), lastModifiedMs };
  }
  for (const entry of contentsOf(text, "CommonPrefixes")) {
    const name = wholeTextOf(entry, "Prefix");
    if (name !== undefined) yield { prefix: urlOf(name) };
  }
}
