import { headerValue, type ObjectHeaders, ValueEntry } from "@frontcache/proto";
import { timeOf } from "./hybrid-clock.js";
import type { ValueDescription, ValueInfo } from "./values.js";

/** How long the absence of a value is kept: a member that was away longer drops its values. */
export const KEEP_DELETED_MS = 24 * 3_600_000;

/** Returns an entry as clients see it. */
export function infoOf(entry: ValueEntry): ValueInfo {
  const { url, version, size, createdMs, expiresMs, flags, metadata, contentType } = entry;
  return {
    url,
    version,
    size,
    createdMs,
    expiresMs: expiresMs === 0 ? undefined : expiresMs,
    flags,
    metadata,
    contentType: contentType === "" ? undefined : contentType,
  };
}

/** The header in which the entry of a value travels with its bytes from member to member. */
const ENTRY_HEADER = "x-amz-meta-frontcache-value";

/** Returns the header with all that is known of a value, for another member. */
export function entryHeader(info: ValueInfo): readonly [name: string, value: string] {
  return [ENTRY_HEADER, Buffer.from(ValueEntry.encode(entryOfInfo(info)).finish()).toString("base64")];
}

/** Returns the entry of a value that clients may read. */
export function entryOfInfo({ metadata, expiresMs = 0, contentType = "", ...known }: ValueInfo): ValueEntry {
  return ValueEntry.fromPartial({ ...known, metadata: { ...metadata }, expiresMs, contentType, present: true });
}

/** Returns the value that another member's headers describe; undefined: they do not. */
export function infoInHeaders(headers: ObjectHeaders): ValueInfo | undefined {
  const text = headerValue(headers, ENTRY_HEADER);
  if (text === undefined) return undefined;
  try {
    return infoOf(ValueEntry.decode(Buffer.from(text, "base64")));
  } catch {
    return undefined;
  }
}

/** The entry of a new value. `defaultTtlSeconds` is that of its bucket. */
export function entryOf(
  { url, version, size, nowMs }: { url: string; version: string; size: number; nowMs: number },
  { ttlSeconds, flags = 0, metadata = {}, contentType = "" }: ValueDescription,
  defaultTtlSeconds: number,
): ValueEntry {
  const expiresMs = expiryOf(ttlSeconds ?? defaultTtlSeconds, nowMs);
  return ValueEntry.fromPartial({ url, version, size, createdMs: nowMs, expiresMs, flags, metadata, contentType });
}

/** When a value expires that is to live so long; 0: never. */
export function expiryOf(ttlSeconds: number, nowMs: number): number {
  return ttlSeconds === 0 ? 0 : nowMs + ttlSeconds * 1_000;
}

/** The entry of a value that does not exist from a version on. */
export function deletedEntry(url: string, version: string, expiresMs = 0): ValueEntry {
  return ValueEntry.fromPartial({ url, version, createdMs: timeOf(version), expiresMs, deleted: true });
}

/** Whether an entry stands for a value at a time. */
export function isLive(entry: ValueEntry | undefined, nowMs: number): boolean {
  return entry !== undefined && !entry.deleted && (entry.expiresMs === 0 || entry.expiresMs > nowMs);
}

/** Until when the absence must be remembered. */
export function forgottenMs({ version, expiresMs }: ValueEntry): number {
  return Math.max(timeOf(version), expiresMs) + KEEP_DELETED_MS;
}
