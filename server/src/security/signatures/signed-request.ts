import { isUtf8 } from "node:buffer";
import type { PresentedRequest } from "../authenticator.js";
import { canonicalValue, type Header, type Signable } from "./signer.js";

/** The parts of a target as sent. */
export interface TargetParts {
  /** The authority of an absolute target, which counts in place of the Host header. */
  readonly authority: string | undefined;
  readonly path: string;
  /** Without the question mark; empty: none. */
  readonly query: string;
}

const ABSOLUTE = /^https?:\/\/([^/?]*)/i;

/** Splits a target as sent. */
export function partsOf(target: string): TargetParts {
  const absolute = target.startsWith("/") ? null : ABSOLUTE.exec(target);
  const from = absolute === null ? 0 : absolute[0].length;
  const mark = target.indexOf("?", from);
  const path = target.slice(from, mark < 0 ? target.length : mark);
  return { authority: absolute?.[1], path: path === "" ? "/" : path, query: mark < 0 ? "" : target.slice(mark + 1) };
}

/** What is signed of a received request. */
export interface SignedParts {
  /** The names of the signed headers, in lower case and in order. */
  readonly names: readonly string[];
  readonly payloadHash: string;
  /** In place of the Host header; undefined: as received. */
  readonly host?: string | undefined;
}

/**
 * Returns what a signature of a received request must be of, by S3's rules: the path is encoded once and never normalised. Undefined: a
 * signed header is missing or is not text.
 */
export function signableOf(
  request: PresentedRequest,
  { authority, path, query }: TargetParts,
  { names, payloadHash, host = authority }: SignedParts,
): Signable | undefined {
  const headers: Header[] = [];
  for (const name of names) {
    const value = name === "host" && host !== undefined ? host : headerOf(request, name);
    if (value === undefined) return undefined;
    headers.push([name, value]);
  }
  return {
    method: request.method ?? "GET",
    path: recoded(path, KEPT_IN_PATH),
    query: canonicalQueryOf(query),
    headers,
    payloadHash,
  };
}

/** The value of a header as it is signed: several of one name are joined by commas. Undefined: it is missing, or is not UTF-8. */
function headerOf({ headers, rawHeaders }: PresentedRequest, name: string): string | undefined {
  let value: string | undefined;
  if (rawHeaders === undefined) {
    const given = headers[name];
    value = Array.isArray(given) ? given.map(canonicalValue).join(",") : given;
  } else {
    for (let at = 0; at < rawHeaders.length; at += 2) {
      const each = rawHeaders[at]!;
      if (each.length !== name.length || each.toLowerCase() !== name) continue;
      const one = canonicalValue(rawHeaders[at + 1]!);
      value = value === undefined ? one : `${value},${one}`;
    }
  }
  if (value === undefined || !/[\x80-\xff]/.test(value)) return value;
  // Node returns the bytes of headers as Latin-1.
  const bytes = Buffer.from(value, "latin1");
  return isUtf8(bytes) ? bytes.toString() : undefined;
}

/** The query as it is signed: each part encoded once, in the order of names and values, without the signature itself. */
function canonicalQueryOf(query: string): string {
  if (query === "") return "";
  const pairs: [name: string, value: string][] = [];
  for (const part of query.split("&")) {
    if (part === "") continue;
    const equals = part.indexOf("=");
    const name = recodedPart(equals < 0 ? part : part.slice(0, equals));
    if (name !== "X-Amz-Signature") pairs.push([name, equals < 0 ? "" : recodedPart(part.slice(equals + 1))]);
  }
  pairs.sort(([name, value], [other, otherValue]) => compare(name, other) || compare(value, otherValue));
  return pairs.map(([name, value]) => `${name}=${value}`).join("&");
}

/** A plus is a space in queries, as S3 reads them. */
function recodedPart(part: string): string {
  return recoded(part.includes("+") ? part.replaceAll("+", "%20") : part, KEPT);
}

function compare(one: string, other: string): number {
  return one < other ? -1 : one > other ? 1 : 0;
}

/** Bytes that are never escaped. */
const KEPT = /^[A-Za-z0-9_.~-]*$/;
const KEPT_IN_PATH = /^[A-Za-z0-9_.~/-]*$/;

/** Text as sent, with each byte escaped as AWS escapes it, however the client escaped it. Node returns the bytes as Latin-1. */
function recoded(text: string, kept: RegExp): string {
  if (kept.test(text)) return text;
  return text.replace(/%[0-9A-Fa-f]{2}|./gs, (found) => {
    const byte = found.length === 3 ? Number.parseInt(found.slice(1), 16) : found.charCodeAt(0);
    const char = String.fromCharCode(byte);
    return kept.test(char) ? char : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  });
}
