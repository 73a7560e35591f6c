/**
 * The headers that an origin returns for an object, beyond those that ObjectInfo names: lines `name: value`, each with CRLF at its
 * end, sorted by name. Names are in lower case. Values are Latin-1, one character for each byte that the origin sent. One string,
 * because records are kept by the hundred thousand, compared with each observation, and written into the heads of answers.
 */
export type ObjectHeaders = string;

/** The longest ObjectHeaders. S3 accepts 8 KiB of headers with an object. Clients accept heads of 16 KiB. */
export const MAX_OBJECT_HEADERS_LENGTH = 12 << 10;

const OBJECT_HEADER = new RegExp(
  `^(?:cache-control|expires|content-(?:disposition|encoding|language)|${[
    "x-amz-(?:(?:meta|checksum|object-lock)-.+|server-side-encryption(?:-.+)?|archive-status|expiration|missing-meta|mp-parts-count",
    "replication-status|restore|storage-class|tagging-count|version-id|website-redirect-location)",
    "x-goog-(?:(?:meta|encryption|object-lock)-.+|component-count|custom-time|expiration|generation|hash|metageneration",
    "storage-class|stored-content-(?:encoding|length))",
    // Ceph's: an object that can be appended to or not.
    "x-rgw-object-type",
  ].join("|")})$`,
);
const METADATA = /^x-(?:amz|goog)-meta-/;
const CHECKSUM = /^x-amz-checksum-/;
const TOKEN = /^[!#$%&'*+.^_`|~0-9a-z-]+$/;
const WELL_FORMED = /^(?:[!#$%&'*+.^_`|~0-9a-z-]+: [\t\x20-\x7e\x80-\xff]*\r\n)*$/;
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

/** Whether a header (its name in lower case) describes an object, as opposed to one answer. */
export function isObjectHeader(name: string): boolean {
  return OBJECT_HEADER.test(name);
}

/** Whether a header is a checksum of the whole object, which must not be sent with a part of its bytes. */
export function isChecksumHeader(name: string): boolean {
  return CHECKSUM.test(name);
}

/** The headers of an object, and the names of those that had to be dropped. */
export interface CollectedHeaders {
  readonly headers: ObjectHeaders;
  /** Headers with control characters, with characters beyond Latin-1, and those that do not fit. */
  readonly dropped: readonly string[];
}

/**
 * Makes ObjectHeaders of an answer's headers. Headers that do not describe the object are ignored. User metadata is dropped first
 * if the headers are too long, the last names first.
 */
export function collectHeaders(all: Iterable<readonly [name: string, value: string]>): CollectedHeaders {
  let valid: Map<string, string> | undefined;
  const dropped: string[] = [];
  for (const [anyCase, untrimmed] of all) {
    const name = anyCase.toLowerCase();
    if (!isObjectHeader(name)) continue;
    const value = untrimmed.replace(/^[\t ]+|[\t ]+$/g, "");
    if (TOKEN.test(name) && VALUE.test(value) && valid?.has(name) !== true) {
      valid ??= new Map();
      valid.set(name, value);
    } else dropped.push(name);
  }
  if (valid === undefined) return { headers: "", dropped };
  const values = valid;
  const names = [...valid.keys()].sort();
  const kept: string[] = [];
  let length = 0;
  for (const name of [...names.filter((each) => !METADATA.test(each)), ...names.filter((each) => METADATA.test(each))]) {
    const lineLength = lineOf(name, values.get(name)!).length;
    if (length + lineLength > MAX_OBJECT_HEADERS_LENGTH) dropped.push(name);
    else {
      length += lineLength;
      kept.push(name);
    }
  }
  return { headers: linesOf(kept.sort().map((name) => [name, values.get(name)!])), dropped };
}

/** Whether a text has the form of ObjectHeaders. The names may be any. */
export function isWellFormed(headers: string): boolean {
  return WELL_FORMED.test(headers);
}

/** The headers as pairs of name and value, sorted by name. */
export function* headerPairs(headers: ObjectHeaders): Generator<readonly [name: string, value: string]> {
  for (let at = 0; at < headers.length; ) {
    const end = headers.indexOf("\r\n", at);
    const colon = headers.indexOf(": ", at);
    yield [headers.slice(at, colon), headers.slice(colon + 2, end)];
    at = end + 2;
  }
}

/** The value of a header; undefined if the object does not have the header. */
export function headerValue(headers: ObjectHeaders, name: string): string | undefined {
  for (const [found, value] of headerPairs(headers)) if (found === name) return value;
  return undefined;
}

/** The headers of one list, and those of another whose names the first does not have, as long as they fit. */
export function withMissing(headers: ObjectHeaders, others: Iterable<readonly [name: string, value: string]>): ObjectHeaders {
  return collectHeaders([...headerPairs(headers), ...others]).headers;
}

function linesOf(pairs: readonly (readonly [string, string])[]): ObjectHeaders {
  return pairs.map(([name, value]) => lineOf(name, value)).join("");
}

function lineOf(name: string, value: string): string {
  return `${name}: ${value}\r\n`;
}
