import {
  CACHED_ONLY_HEADER,
  FORWARDED_HEADER,
  OPEN_ENDED_HEADER,
  REPEATED_HEADER,
  SCHEME_PATTERN,
  TIMEOUT_HEADER,
} from "@frontcache/proto";
import type { Addressing } from "../s3/request-target.js";

/** A request in the fixed form of frontcache's clients. */
export interface PlainRequest {
  /** The path as sent. */
  readonly url: string;
  /** All its headers, with names as in Node. */
  readonly headers: {
    readonly host: string;
    readonly range: string;
    readonly "if-match"?: string;
    readonly authorization?: string;
    readonly [FORWARDED_HEADER]?: "1";
    readonly [CACHED_ONLY_HEADER]?: "1";
    readonly [OPEN_ENDED_HEADER]?: "1";
    readonly [REPEATED_HEADER]?: "1";
    readonly [TIMEOUT_HEADER]?: string;
  };
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** Room for an escaped key of 1,024 bytes and the rest of the request. */
const MAX_BYTES = 4 << 10;

/** No query, and few headers, always in this order; hosts as in URLs. The last headers are those between members. */
const formWith = (path: string): RegExp =>
  new RegExp(
    [
      `^GET (${path}) HTTP/1\\.1`,
      "Host: ([A-Za-z0-9._:[\\]-]{1,255})",
      "Range: (bytes=\\d{1,15}-\\d{1,15})",
      "(?:If-Match: ([!-~]+)\r\n)?(?:Authorization: (Bearer [!-~]+)\r\n)?" +
        `(${FORWARDED_HEADER}: 1\r\n)?(${CACHED_ONLY_HEADER}: 1\r\n)?(${OPEN_ENDED_HEADER}: 1\r\n)?(${REPEATED_HEADER}: 1\r\n)?(?:${TIMEOUT_HEADER}: (\\d{1,9})\r\n)?\r\n$`,
    ].join("\r\n"),
  );

const FORMS = { prefixed: formWith(`/(?:${SCHEME_PATTERN})/[!"$->@-~]+`), root: formWith(`/[!"$->@-~]+`) } as const;

/**
 * Parses bytes that are exactly one request in the fixed form; undefined for anything else, even if it is valid HTTP. `form` is the
 * listener's form of paths.
 */
export function parsePlainRequest(bytes: Buffer, form: Addressing["form"]): PlainRequest | undefined {
  if (bytes.length > MAX_BYTES) return undefined;
  const match = FORMS[form].exec(bytes.toString("latin1"));
  if (match === null) return undefined;
  const [, url, host, range, ifMatch, authorization, forwarded, cachedOnly, openEnded, repeated, timeout] = match;
  const headers: Writable<PlainRequest["headers"]> = { host: host!, range: range! };
  if (ifMatch !== undefined) headers["if-match"] = ifMatch;
  if (authorization !== undefined) headers.authorization = authorization;
  if (forwarded !== undefined) headers[FORWARDED_HEADER] = "1";
  if (cachedOnly !== undefined) headers[CACHED_ONLY_HEADER] = "1";
  if (openEnded !== undefined) headers[OPEN_ENDED_HEADER] = "1";
  if (repeated !== undefined) headers[REPEATED_HEADER] = "1";
  if (timeout !== undefined) headers[TIMEOUT_HEADER] = timeout;
  return { url: url!, headers };
}
