import { isUtf8 } from "node:buffer";
import type { PresentedRequest } from "../authenticator.js";
import type { SignedHeaders } from "./authorization-header.js";
import { canonicalValue } from "./signer.js";

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
  readonly signed: SignedHeaders;
  readonly payloadHash: string;
  /** In place of the Host header; undefined: as received. */
  readonly host?: string | undefined;
}

/**
 * Returns the canonical request that a signature of a received request must be of, by S3's rules: the path is encoded once and never
 * normalised. Undefined: a signed header is missing or is not text.
 */
export function canonicalOf(
  request: PresentedRequest,
  { authority, path, query }: TargetParts,
  { signed, payloadHash, host = authority }: SignedParts,
): string | undefined {
  const { names, places, list } = signed;
  const values = request.rawHeaders === undefined ? undefined : rawValues(request.rawHeaders, places);
  let lines = "";
  for (let at = 0; at < names.length; at++) {
    const name = names[at]!;
    const received = values === undefined ? parsedValue(request.headers[name]) : values[at];
    const value = name === "host" && host !== undefined ? canonicalValue(host) : received;
    if (value === undefined) return undefined;
    lines += `${name}:${value}\n`;
  }
  const text = NOT_ASCII.test(lines) ? decoded(lines) : lines;
  if (text === undefined) return undefined;
  const { method = "GET" } = request;
  return `${method}\n${recoded(path, KEPT_IN_PATH)}\n${canonicalQueryOf(query)}\n${text}\n${list}\n${payloadHash}`;
}

const NOT_ASCII = /[\x80-\xff]/;

/** Node returns the bytes of headers as Latin-1. Undefined: they are not UTF-8. */
function decoded(latin1: string): string | undefined {
  const bytes = Buffer.from(latin1, "latin1");
  return isUtf8(bytes) ? bytes.toString() : undefined;
}

/** The values of headers as they are signed, by their places: several of one name are joined by commas. */
function rawValues(rawHeaders: readonly string[], places: SignedHeaders["places"]): (string | undefined)[] {
  const values = new Array<string | undefined>(places.size).fill(undefined);
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const place = places.get(rawHeaders[at]!.toLowerCase());
    if (place === undefined) continue;
    const one = canonicalValue(rawHeaders[at + 1]!);
    const before = values[place];
    values[place] = before === undefined ? one : `${before},${one}`;
  }
  return values;
}

function parsedValue(given: string | string[] | undefined): string | undefined {
  return Array.isArray(given) ? given.map(canonicalValue).join(",") : given && canonicalValue(given);
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
