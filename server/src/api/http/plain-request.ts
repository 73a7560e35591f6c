import {
  CACHED_ONLY_HEADER,
  FORWARDED_HEADER,
  OPEN_ENDED_HEADER,
  REPEATED_HEADER,
  SCHEME_PATTERN,
  TIMEOUT_HEADER,
} from "@frontcache/proto";
import type { RequestedRange } from "../s3/range-header.js";
import type { Addressing } from "../s3/request-target.js";
import type { RepeatedRequest } from "./repeated-request.js";

/** A simple GET or HEAD. */
export interface PlainRequest {
  readonly method: "GET" | "HEAD";
  readonly httpVersion: "1.1";
  /** The path as sent, with the query. */
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
    readonly "x-amz-date"?: string;
    readonly "x-amz-content-sha256"?: string;
    readonly "x-amz-security-token"?: string;
    readonly "x-amz-checksum-mode"?: string;
    readonly "x-amz-api-version"?: string;
    readonly "x-amz-user-agent"?: string;
    readonly "amz-sdk-invocation-id"?: string;
    readonly "amz-sdk-request"?: string;
    readonly "content-type"?: string;
    readonly referer?: string;
    readonly accept?: string;
    readonly "accept-encoding"?: string;
    readonly connection?: string;
    readonly "user-agent"?: string;
  };
  /** Its range, as `parseRange` returns it, if `repeated` is present. */
  readonly range?: RequestedRange | undefined;
  /** The request that it repeats. Absent: its connection has sent another one before. */
  readonly repeated?: RepeatedRequest;
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

/** `query` matches the query, with its question mark, that requests in other forms than that of frontcache's own clients may have. */
const formsWith = (path: string, query = ""): PlainForms => {
  return { own: formWith(path), requestLine: new RegExp(`^(GET|HEAD) (${path}(${query})) HTTP/1\\.1$`) };
};

/**
 * The parameters of presigned URLs, of listings, and those that SDKs add to GETs and HEADs of objects. None of them selects a sub-resource
 * of an object or a bucket.
 */
const PARAMETER =
  "(?:(?:X-Amz-(?:Algorithm|Content-Sha256|Credential|Date|Expires|Security-Token|SignedHeaders|Signature)" +
  "|continuation-token|delimiter|encoding-type|fetch-owner|list-type|marker|max-keys|prefix|start-after)=[\\w.~%/+=;-]*" +
  "|partNumber=\\d{1,5}|x-amz-checksum-mode=ENABLED|x-id=(?:(?:Get|Head)Object|ListObjectsV2))";
const OBJECT_QUERY = `(?:\\?${PARAMETER}(?:&${PARAMETER})*)?`;

const OBJECT_FORMS = {
  prefixed: formsWith(`/(?:${SCHEME_PATTERN})/[!"$->@-~]+`, OBJECT_QUERY),
  root: formsWith(`/[!"$->@-~]+`, OBJECT_QUERY),
} as const;

/** The ranges that frontcache's own clients request. */
export const OWN_RANGE = new RegExp(`^${RANGE}$`);

/** The values of the headers of frontcache's own clients. */
const OWN_HEADERS: ReadonlyMap<string, RegExp> = new Map([
  ["host", new RegExp(`^${HOST}$`)],
  ["range", OWN_RANGE],
  ["if-match", /^[!-~]+$/],
  ["authorization", /^Bearer [!-~]+$/],
  [FORWARDED_HEADER, /^1$/],
  [CACHED_ONLY_HEADER, /^1$/],
  [OPEN_ENDED_HEADER, /^1$/],
  [REPEATED_HEADER, /^1$/],
  [TIMEOUT_HEADER, /^\d{1,9}$/],
]);
/** Printable ASCII without blanks at the ends. */
const TEXT = /^[!-~](?:[ -~]*[!-~])?$/;
/** The values of other headers of simple clients, and of S3's SDKs. None of them changes how a message is framed. */
const OTHER_HEADERS: ReadonlyMap<string, RegExp> = new Map([
  ["accept", TEXT],
  ["accept-encoding", TEXT],
  ["connection", /^keep-alive$/i],
  ["user-agent", TEXT],
  ["referer", TEXT],
  ["range", /^bytes=(?:\d{1,15}-|-\d{1,15})$/],
  ["authorization", /^AWS4-HMAC-SHA256 Credential=[!-+\x2d-~]+, ?SignedHeaders=[!-+\x2d-~]+, ?Signature=[0-9a-f]{64}$/],
  ["x-amz-date", /^\d{8}T\d{6}Z$/],
  ["x-amz-content-sha256", /^(?:[0-9a-f]{64}|UNSIGNED-PAYLOAD)$/],
  ["x-amz-security-token", /^[!-~]+$/],
  ["x-amz-checksum-mode", TEXT],
  ["x-amz-api-version", TEXT],
  ["x-amz-user-agent", TEXT],
  ["amz-sdk-invocation-id", TEXT],
  ["amz-sdk-request", TEXT],
  // The SDK for C++ sends it with each request. A message without a length has no body, whatever its type.
  ["content-type", TEXT],
]);

/** A header that a plain request may have. */
interface KnownHeader {
  /** In lower case. */
  readonly name: string;
  /** The values that frontcache's own clients send. Undefined: they do not send the header. */
  readonly own: RegExp | undefined;
  /** The values that other clients send, too. Undefined: no others. */
  readonly other: RegExp | undefined;
}

/** By name, in lower case and as `X-Amz-Date`: these are the usual spellings. */
const HEADERS: ReadonlyMap<string, KnownHeader> = new Map(
  [...OWN_HEADERS.keys(), ...OTHER_HEADERS.keys()].flatMap((name): [string, KnownHeader][] => {
    const header = { name, own: OWN_HEADERS.get(name), other: OTHER_HEADERS.get(name) };
    const capitalized = name.replace(/\b[a-z]/g, (letter) => letter.toUpperCase());
    return [
      [name, header],
      [capitalized, header],
    ];
  }),
);

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
  return { method: method as PlainRequest["method"], url: url!, httpVersion: "1.1", isPlain: isOwn(method!, range), headers };
}

/**
 * The same for headers in any order. Some clients have no fixed order: wrk, for example, chooses one at its start, so that the rates of
 * two of its runs would differ by the cost of Node's HTTP server.
 */
function parseAnyOrder(text: string, requestLine: RegExp): PlainRequest | undefined {
  if (!/^(?:GET|HEAD) /.test(text) || !text.endsWith("\r\n\r\n")) return undefined;
  let end = text.indexOf("\r\n");
  const match = requestLine.exec(text.slice(0, end));
  if (match === null) return undefined;
  const [, method, url, query] = match;
  const headers: Record<string, string> = {};
  let isPlain = query === "";
  while (end + 4 < text.length) {
    const start = end + 2;
    end = text.indexOf("\r\n", start);
    // Text that contains the end of a line is no name.
    const nameEnd = text.indexOf(": ", start);
    const sentName = text.slice(start, nameEnd);
    const known = HEADERS.get(sentName) ?? HEADERS.get(sentName.toLowerCase());
    // A header that appears twice is left to Node's parser, which knows how to join them.
    if (known === undefined || headers[known.name] !== undefined) return undefined;
    const value = text.slice(nameEnd + 2, end);
    if (known.own?.test(value) !== true) {
      isPlain = false;
      if (known.other?.test(value) !== true) return undefined;
    }
    headers[known.name] = value;
  }
  if (headers.host === undefined) return undefined;
  return {
    method: method as PlainRequest["method"],
    url: url!,
    httpVersion: "1.1",
    isPlain: isPlain && isOwn(method!, headers.range),
    headers: headers as PlainRequest["headers"] & Record<string, string>,
  };
}

/** Whether frontcache's own clients send such requests: they read ranges. */
function isOwn(method: string, range: string | undefined): boolean {
  return method === "GET" && range !== undefined;
}
