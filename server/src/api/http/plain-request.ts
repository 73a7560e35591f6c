import {
  CACHED_ONLY_HEADER,
  FORWARDED_HEADER,
  OPEN_ENDED_HEADER,
  REPEATED_HEADER,
  SCHEME_PATTERN,
  TIMEOUT_HEADER,
} from "@frontcache/proto";
import type { Addressing } from "../s3/request-target.js";

/** A simple GET or HEAD. */
export interface PlainRequest {
  readonly method: "GET" | "HEAD";
  /** The path as sent. */
  readonly url: string;
  /** Whether it is a GET of a range that has only headers of frontcache's own clients. */
  readonly isPlain: boolean;
  /** All its headers, with names as in Node. */
  readonly headers: {
    readonly host: string;
    /** Absent: the whole object is requested. */
    readonly range?: string;
    readonly "if-match"?: string;
    readonly authorization?: string;
    readonly [FORWARDED_HEADER]?: "1";
    readonly [CACHED_ONLY_HEADER]?: "1";
    readonly [OPEN_ENDED_HEADER]?: "1";
    readonly [REPEATED_HEADER]?: "1";
    readonly [TIMEOUT_HEADER]?: string;
    /** Other headers, which only requests have that are not plain. */
    readonly accept?: string;
    readonly "accept-encoding"?: string;
    readonly connection?: string;
    readonly "user-agent"?: string;
  };
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** Room for an escaped key of 1,024 bytes and the rest of the request. */
const MAX_BYTES = 4 << 10;

const HOST = "[A-Za-z0-9._:[\\]-]{1,255}";
const RANGE = "bytes=\\d{1,15}-\\d{1,15}";

/** No query, and few headers, in the order of frontcache's own clients; hosts as in URLs. The last headers are those between members. */
const formWith = (path: string): RegExp =>
  new RegExp(
    [
      `^(GET|HEAD) (${path}) HTTP/1\\.1`,
      `Host: (${HOST})`,
      `(?:Range: (${RANGE})\r\n)?(?:If-Match: ([!-~]+)\r\n)?(?:Authorization: (Bearer [!-~]+)\r\n)?` +
        `(${FORWARDED_HEADER}: 1\r\n)?(${CACHED_ONLY_HEADER}: 1\r\n)?(${OPEN_ENDED_HEADER}: 1\r\n)?(${REPEATED_HEADER}: 1\r\n)?(?:${TIMEOUT_HEADER}: (\\d{1,9})\r\n)?\r\n$`,
    ].join("\r\n"),
  );

/** The forms of requests for paths that match a regular expression. */
interface PlainForms {
  /** With the headers of frontcache's own clients, in their order. */
  readonly own: RegExp;
  /** The first line of all others. */
  readonly requestLine: RegExp;
}

const formsWith = (path: string): PlainForms => {
  return { own: formWith(path), requestLine: new RegExp(`^(GET|HEAD) (${path}) HTTP/1\\.1$`) };
};

const OBJECT_FORMS = {
  prefixed: formsWith(`/(?:${SCHEME_PATTERN})/[!"$->@-~]+`),
  root: formsWith(`/[!"$->@-~]+`),
} as const;

/** The values of the headers of frontcache's own clients. */
const OWN_HEADERS: ReadonlyMap<string, RegExp> = new Map([
  ["host", new RegExp(`^${HOST}$`)],
  ["range", new RegExp(`^${RANGE}$`)],
  ["if-match", /^[!-~]+$/],
  ["authorization", /^Bearer [!-~]+$/],
  [FORWARDED_HEADER, /^1$/],
  [CACHED_ONLY_HEADER, /^1$/],
  [OPEN_ENDED_HEADER, /^1$/],
  [REPEATED_HEADER, /^1$/],
  [TIMEOUT_HEADER, /^\d{1,9}$/],
]);
/** The values of other headers of simple clients. None of them changes how a message is framed. */
const OTHER_HEADERS: ReadonlyMap<string, RegExp> = new Map([
  ["accept", /^[!-~](?:[ -~]*[!-~])?$/],
  ["accept-encoding", /^[!-~](?:[ -~]*[!-~])?$/],
  ["connection", /^keep-alive$/i],
  ["user-agent", /^[!-~](?:[ -~]*[!-~])?$/],
]);

/**
 * Parses bytes that are exactly one simple GET or HEAD; undefined for anything else, even if it is valid HTTP. `form` is the
 * listener's form of paths.
 */
export function parsePlainRequest(bytes: Buffer, form: Addressing["form"]): PlainRequest | undefined {
  return parseForms(bytes, OBJECT_FORMS[form]);
}

/**
 * Parses bytes that are exactly one simple GET, of a range or not, whose path matches the regular expression `path`; undefined
 * for anything else.
 */
export function plainGetParser(path: string): (bytes: Buffer) => PlainRequest | undefined {
  const forms = formsWith(path);
  return (bytes) => {
    const request = parseForms(bytes, forms);
    return request?.method === "GET" ? request : undefined;
  };
}

function parseForms(bytes: Buffer, { own, requestLine }: PlainForms): PlainRequest | undefined {
  if (bytes.length > MAX_BYTES) return undefined;
  const text = bytes.toString("latin1");
  const match = own.exec(text);
  if (match === null) return parseAnyOrder(text, requestLine);
  const [, method, url, host, range, ifMatch, authorization, forwarded, cachedOnly, openEnded, repeated, timeout] = match;
  const headers: Writable<PlainRequest["headers"]> = range === undefined ? { host: host! } : { host: host!, range };
  if (ifMatch !== undefined) headers["if-match"] = ifMatch;
  if (authorization !== undefined) headers.authorization = authorization;
  if (forwarded !== undefined) headers[FORWARDED_HEADER] = "1";
  if (cachedOnly !== undefined) headers[CACHED_ONLY_HEADER] = "1";
  if (openEnded !== undefined) headers[OPEN_ENDED_HEADER] = "1";
  if (repeated !== undefined) headers[REPEATED_HEADER] = "1";
  if (timeout !== undefined) headers[TIMEOUT_HEADER] = timeout;
  return { method: method as PlainRequest["method"], url: url!, isPlain: isOwn(method!, range), headers };
}

/**
 * The same for headers in any order. Some clients have no fixed order: wrk, for example, chooses one at its start, so that the rates of
 * two of its runs would differ by the cost of Node's HTTP server.
 */
function parseAnyOrder(text: string, requestLine: RegExp): PlainRequest | undefined {
  if (!/^(?:GET|HEAD) /.test(text) || !text.endsWith("\r\n\r\n")) return undefined;
  const [first, ...lines] = text.slice(0, -4).split("\r\n");
  const match = requestLine.exec(first!);
  if (match === null) return undefined;
  const [, method, url] = match;
  const headers: Record<string, string> = {};
  let isPlain = true;
  for (const line of lines) {
    const nameEnd = line.indexOf(": ");
    const name = line.slice(0, Math.max(0, nameEnd)).toLowerCase();
    const value = line.slice(nameEnd + 2);
    const own = OWN_HEADERS.get(name);
    if (own === undefined) isPlain = false;
    // A header that appears twice is left to Node's parser, which knows how to join them.
    if ((own ?? OTHER_HEADERS.get(name))?.test(value) !== true || headers[name] !== undefined) return undefined;
    headers[name] = value;
  }
  const { host, ...others } = headers;
  if (host === undefined) return undefined;
  return {
    method: method as PlainRequest["method"],
    url: url!,
    isPlain: isPlain && isOwn(method!, headers.range),
    headers: { host, ...others },
  };
}

/** Whether frontcache's own clients send such requests: they read ranges. */
function isOwn(method: string, range: string | undefined): boolean {
  return method === "GET" && range !== undefined;
}
