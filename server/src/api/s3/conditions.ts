import type { IncomingHttpHeaders } from "node:http";
import { matchesExactly, matchesWeakly, type ObjectInfo, parseEntityTags, type VersionList } from "@frontcache/proto";

/** What a request makes its answer depend on. Absent: no such header, or a date that is none. */
export interface Conditions {
  readonly match?: VersionList | undefined;
  readonly noneMatch?: VersionList | undefined;
  /** Milliseconds since 1970, whole seconds. */
  readonly modifiedSinceMs?: number | undefined;
  readonly unmodifiedSinceMs?: number | undefined;
  /** If-Range: the version, or the date of it, that the range must be of. */
  readonly range?: { readonly version: string } | { readonly lastModifiedMs: number } | undefined;
}

/** What the conditions make of a request: its answer, 304, 412. */
export type Verdict = "answer" | "not-modified" | "failed";

const NONE: Conditions = {};

export function parseConditions(headers: IncomingHttpHeaders): Conditions {
  const match = headers["if-match"];
  const noneMatch = headers["if-none-match"];
  const modifiedSince = headers["if-modified-since"];
  const unmodifiedSince = headers["if-unmodified-since"];
  const range = headers["if-range"];
  if ((match ?? noneMatch ?? modifiedSince ?? unmodifiedSince ?? range) === undefined) return NONE;
  return {
    match: match === undefined ? undefined : parseEntityTags(match),
    noneMatch: noneMatch === undefined ? undefined : parseEntityTags(noneMatch),
    modifiedSinceMs: parseDate(modifiedSince),
    unmodifiedSinceMs: parseDate(unmodifiedSince),
    range: typeof range === "string" ? parseIfRange(range) : undefined,
  };
}

/** The version that the client requires: the one ETag of an If-Match. The cache is asked for exactly this version. */
export function requiredVersion(conditions: Conditions): string | undefined {
  const { match } = conditions;
  return match !== undefined && match !== "*" && match.length === 1 ? match[0] : undefined;
}

/** Whether the object must be known before its bytes are asked for. */
export function needsObject(conditions: Conditions): boolean {
  if (conditions === NONE) return false;
  const { match, noneMatch, modifiedSinceMs, unmodifiedSinceMs, range } = conditions;
  const another = noneMatch ?? modifiedSinceMs ?? unmodifiedSinceMs ?? range;
  return another !== undefined || (match !== undefined && match !== "*" && match.length !== 1);
}

/** Evaluates the conditions in the order of RFC 9110 (13.2.2): ETags come before dates, and dates count without ETags only. */
export function judge(conditions: Conditions, info: ObjectInfo): Verdict {
  const { match, noneMatch, modifiedSinceMs, unmodifiedSinceMs } = conditions;
  const modifiedMs = wholeSeconds(info.lastModifiedMs);
  if (match !== undefined) {
    if (!matchesExactly(match, info.version)) return "failed";
  } else if (unmodifiedSinceMs !== undefined && modifiedMs !== undefined && modifiedMs > unmodifiedSinceMs) return "failed";
  if (noneMatch !== undefined) return matchesWeakly(noneMatch, info.version) ? "not-modified" : "answer";
  if (modifiedSinceMs !== undefined && modifiedMs !== undefined && modifiedMs <= modifiedSinceMs) return "not-modified";
  return "answer";
}

/** Whether the Range header counts: always, unless an If-Range names another state of the object. */
export function rangeCounts({ range }: Conditions, info: ObjectInfo): boolean {
  if (range === undefined) return true;
  if ("version" in range) return range.version === info.version && !range.version.startsWith("W/");
  return range.lastModifiedMs === wholeSeconds(info.lastModifiedMs);
}

function parseIfRange(header: string): Conditions["range"] {
  const lastModifiedMs = parseDate(header);
  if (lastModifiedMs !== undefined) return { lastModifiedMs };
  const tags = parseEntityTags(header);
  // No version is empty: an If-Range that is neither a date nor a tag is true of no object.
  return { version: tags === "*" ? "" : (tags[0] ?? "") };
}

/** The three forms of an HTTP date; each begins with the name of a day and ends with a zone or a year. */
const HTTP_DATE = /^(Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? .*\d\d:\d\d:\d\d (GMT|\d{4})$/;

/** Anything else than an HTTP date is undefined: such a condition is ignored. */
function parseDate(header: string | undefined): number | undefined {
  if (header === undefined || !HTTP_DATE.test(header)) return undefined;
  const ms = Date.parse(header.endsWith("GMT") ? header : `${header} GMT`);
  return Number.isNaN(ms) ? undefined : ms;
}

/** Dates in headers have whole seconds. */
function wholeSeconds(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : Math.floor(ms / 1000) * 1000;
}
