import { timingSafeEqual } from "node:crypto";
import type { PresentedRequest } from "../authenticator.js";
import type { AccessKey } from "../identities/identities-file.js";
import { refused } from "./authorization-header.js";

/** How far the clocks of a client and a member may differ, and how long a signed request can be repeated. S3's limit. */
export const MAX_SKEW_MS = 15 * 60_000;

export const ONE_MECHANISM =
  "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified";

export const WRONG_SIGNATURE =
  "The request signature we calculated does not match the signature you provided. Check your key and signing method.";

/** Throws S3's error if a request was signed too long ago, or by a clock that is too far ahead. */
export function checkSkew(signedAtMs: number, nowMs: number): void {
  if (Math.abs(nowMs - signedAtMs) <= MAX_SKEW_MS) return;
  throw refused("RequestTimeTooSkewed", "The difference between the request time and the current time is too large.");
}

/** Throws S3's error unless the session token that was sent is that of the access key. */
export function checkSessionToken(sent: string | undefined, { sessionToken }: AccessKey): void {
  if (sessionToken === undefined ? sent === undefined : sent !== undefined && isEqual(sent, sessionToken)) return;
  throw refused("InvalidToken", "The provided token is malformed or otherwise invalid.");
}

/** The form that RFC 9110 prefers; `Date.parse` accepts many others. */
const HTTP_DATE = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} (?:GMT|\+0000)$/;

/** The time of an HTTP date, milliseconds since 1970. Undefined: it is not of this form. */
export function httpDateMs(text: string | undefined): number | undefined {
  const ms = text !== undefined && HTTP_DATE.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(ms) ? undefined : ms;
}

/** Compares in a time that depends on the lengths alone. */
export function isEqual(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}

/** Returns whether a header, its name in lower case, was sent more than once. */
export function isRepeated({ rawHeaders = [] }: PresentedRequest, name: string): boolean {
  let count = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    if (rawHeaders[at]!.length === name.length && rawHeaders[at]!.toLowerCase() === name) count++;
  }
  return count > 1;
}

/** A header's value as text. */
export function textOf(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value.join(", ") : value;
}
