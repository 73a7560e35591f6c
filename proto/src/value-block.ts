import { hash } from "node:crypto";
import type { BlockId } from "./block-file.js";

/** The longest URL of a block, bytes: as of objects in stores. Longer ones would not fit into the footers of block files. */
const MOST_URL_BYTES = 1_024;

/**
 * A block of a value in the block store. Each is an object of its own there, because the size of a value may be unknown at first.
 * `stored`: the version under which the bytes were stored, which is the value's own unless it was uploaded in ranges.
 */
export function valueBlock(url: string, stored: string, index: number): BlockId {
  return { url: valueBlockUrl(url), version: `${stored}.${index}`, offset: 0 };
}

/** The URL that the blocks of a value have: that of a long key is shortened by a hash. */
export function valueBlockUrl(url: string): string {
  if (url.length <= MOST_URL_BYTES / 3 || Buffer.byteLength(url) <= MOST_URL_BYTES) return url;
  const slash = url.indexOf("/", "cache://".length);
  return `${url.slice(0, slash)}/~${hash("sha256", url)}`;
}
