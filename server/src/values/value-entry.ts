import { ValueEntry } from "@frontcache/proto";
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
