import { entityTagOf, parseObjectUrl, splitScheme } from "@frontcache/proto";
import type { ReadRequest } from "../transport.js";

/** What stands for itself in a path; a key's slashes stay, since the gateway takes all of them for the key's own. */
const PLAIN = /^[A-Za-z0-9._~/-]*$/;

/**
 * The head of the GET for a read, in ASCII. The key is escaped so that decoding it once gives it back verbatim; the version
 * must be one that has an entity tag, the URL an object's. `host` is where the request goes to, `authorization` the value of
 * that header.
 */
export function requestHead({ url, offset, length, version }: ReadRequest, host: string, authorization?: string): string {
  const match = version === "" ? "" : `If-Match: ${entityTagOf(version)}\r\n`;
  const shown = authorization === undefined ? "" : `Authorization: ${authorization}\r\n`;
  return `GET ${pathOf(url)} HTTP/1.1\r\nHost: ${host}\r\nRange: bytes=${offset}-${offset + length - 1}\r\n${match}${shown}\r\n`;
}

function pathOf(url: string): string {
  const split = splitScheme(url);
  if (split !== undefined && PLAIN.test(split.rest)) return `/${split.scheme}/${split.rest}`;
  const { scheme, bucket, key } = parseObjectUrl(url);
  return `/${scheme}/${bucket}/${key.split("/").map(encodeURIComponent).join("/")}`;
}
