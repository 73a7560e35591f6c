import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import type { WarmTarget } from "@frontcache/client";
import { parseObjectUrl, parsePrefixUrl } from "@frontcache/proto";
import { asUsage } from "./client-options.js";

/**
 * What a word on the command line or a line of a manifest names: all objects under a prefix where it ends in `/` or `*`, or
 * is a bucket, else one object. Throws a UsageError that begins with `from`.
 */
export function parseTarget(text: string, from?: string): WarmTarget {
  const isPrefix = /[*/]$/.test(text) || /^\w+:\/\/[^/]*$/.test(text);
  if (!isPrefix) return asUsage(from, () => parseObjectUrl(text).url);
  return { prefix: asUsage(from, () => parsePrefixUrl(text.replace(/\*$/, "")).url) };
}

/** The targets of a manifest, a line each; empty lines and those that begin with # name none. */
export async function* readManifest(input: Readable, signal: AbortSignal): AsyncGenerator<WarmTarget, void> {
  const lines = createInterface({ input, signal });
  let number = 0;
  for await (const line of lines) {
    number++;
    const text = line.trim();
    if (text !== "" && !text.startsWith("#")) yield parseTarget(text, `line ${number} of the manifest`);
  }
  signal.throwIfAborted();
}
