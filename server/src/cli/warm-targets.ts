import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import type { WarmTarget } from "@frontcache/client";
import { parseObjectUrl, parsePrefixUrl } from "@frontcache/proto";
import { asUsage } from "./client-options.js";

/**
 * Parses a target: all objects with a prefix if it ends with `/` or `*` or is a bucket, else one object. Throws a UsageError that
 * begins with `from`.
 */
export function parseTarget(text: string, from?: string): WarmTarget {
  const isPrefix = /[*/]$/.test(text) || /^\w+:\/\/[^/]*$/.test(text);
  if (!isPrefix) return asUsage(from, () => parseObjectUrl(text).url);
  return { prefix: asUsage(from, () => parsePrefixUrl(text.replace(/\*$/, "")).url) };
}

/** Reads the targets of a manifest, one per line. Ignores empty lines and lines that begin with #. */
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
