import { randomBytes } from "node:crypto";
import type { Principal } from "../security/principal.js";

/** Request ids of a process have a common random prefix and increasing numbers. */
const idPrefix = randomBytes(4).toString("hex").slice(1).toUpperCase();
const FIRST_ID = 100_000_000;
let ids = 0;

/** Returns the id of a principal's request: a new one, unless the audit log may name the request. */
export function requestIdOf({ source }: Pick<Principal, "source">): string {
  return source?.requestId ?? nextRequestId();
}

/** Returns a new id of 16 characters for a request. Every request gets one, so it costs one addition and one concatenation. */
export function nextRequestId(): string {
  ids = (ids + 1) % (9 * FIRST_ID);
  return idPrefix + (FIRST_ID + ids);
}
