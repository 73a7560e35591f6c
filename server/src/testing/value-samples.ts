import { ANONYMOUS } from "../security/principal.js";
import type { ValueRequest } from "../values/values.js";

/** Bytes that differ at each position. */
export function patterned(size: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(size);
  for (let at = 0; at < size; at++) bytes[at] = (at * 31 + (at >> 8) * 17 + seed * 101) & 0xff;
  return bytes;
}

/** A request for a value of a bucket of tests. */
export function requestOf(key: string): ValueRequest {
  return { url: `cache://bucket/${key}`, principal: ANONYMOUS, signal: new AbortController().signal };
}
