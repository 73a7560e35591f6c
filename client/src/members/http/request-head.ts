import {
  CACHED_ONLY_HEADER,
  entityTagOf,
  FORWARDED_HEADER,
  ON_BEHALF_OF_HEADER,
  OPEN_ENDED_HEADER,
  ORIGIN_REQUESTS_HEADER,
  parseObjectUrl,
  REPEATED_HEADER,
  splitScheme,
  TIMEOUT_HEADER,
} from "@frontcache/proto";
import type { ReadRequest } from "../ports.js";

/** Characters that need no escape in a path. Slashes are not escaped, because they are part of the key. */
const PLAIN = /^[A-Za-z0-9._~/-]*$/;

/**
 * A deadline that is about as far away as the client's default (30 s, of which a little has passed when the request is made) is not
 * sent, to keep the request short: the client closes the connection when it is over, which ends the read, too.
 */
const FAR_MS = 29_000;

/**
 * Returns the header of a GET for a read, in ASCII. The key is escaped so that decoding it once returns it verbatim; the version
 * must have an entity tag, the URL must be an object's. `host` is the receiver, `authorization` the value of that header.
 * Members' listeners have a fast path for this form: exactly these headers, in this order.
 */
export function requestHead(request: ReadRequest, host: string, authorization?: string, remainingMs = Infinity): string {
  const { url, offset, length, version, forwarded, cachedOnly, openEnded, repeated, originRequests, onBehalfOf } = request;
  const match = version === "" ? "" : `If-Match: ${entityTagOf(version)}\r\n`;
  const authenticated = authorization === undefined ? "" : `Authorization: ${authorization}\r\n`;
  const range = `Range: bytes=${offset}-${offset + length - 1}`;
  const head = `GET ${pathOf(url)} HTTP/1.1\r\nHost: ${host}\r\n${range}\r\n${match}${authenticated}`;
  if (forwarded !== true && cachedOnly !== true && openEnded !== true && repeated !== true && remainingMs >= FAR_MS) {
    return `${head}\r\n`;
  }
  const members = `${flag(FORWARDED_HEADER, forwarded)}${flag(CACHED_ONLY_HEADER, cachedOnly)}${flag(OPEN_ENDED_HEADER, openEnded)}`;
  const timeout = remainingMs < FAR_MS ? `${TIMEOUT_HEADER}: ${Math.ceil(remainingMs)}\r\n` : "";
  // Both are rare, and not part of the form for which listeners have a fast path.
  const requests = originRequests === undefined ? "" : `${ORIGIN_REQUESTS_HEADER}: ${originRequests}\r\n`;
  const principal = onBehalfOf === undefined ? "" : `${ON_BEHALF_OF_HEADER}: ${encodeURIComponent(onBehalfOf)}\r\n`;
  return `${head}${members}${flag(REPEATED_HEADER, repeated)}${requests}${principal}${timeout}\r\n`;
}

function flag(header: string, isSet: boolean | undefined): string {
  return isSet === true ? `${header}: 1\r\n` : "";
}

/** The path of an object on the HTTP listener, escaped. */
export function pathOf(url: string): string {
  const split = splitScheme(url);
  if (split !== undefined && PLAIN.test(split.rest)) return `/${split.scheme}/${split.rest}`;
  const { scheme, bucket, key } = parseObjectUrl(url);
  return `/${scheme}/${bucket}/${key.split("/").map(encodeURIComponent).join("/")}`;
}
