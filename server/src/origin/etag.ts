import { CacheError, type ObjectRef } from "@frontcache/proto";
import { otherVersion } from "./answer.js";

/** An ETag header as a version: without its quotes, a weak one still marked by `W/`. Undefined where there is none. */
export function versionOfEtag(etag: string | undefined): string | undefined {
  const match = /^(W\/)?"?([^"]+)"?$/.exec(etag ?? "");
  return match === null ? undefined : `${match[1] ?? ""}${match[2]}`;
}

/**
 * The If-Match header for a version. A version that no ETag can be (quotes, control characters) is FAILED_PRECONDITION
 * without a request: no object has it.
 */
export function etagOfVersion(ref: ObjectRef, version: string): string {
  if (!/^[\x21\x23-\x7e\x80-\xff]+$/.test(version))
    throw otherVersion(ref, version, new CacheError("INVALID_ARGUMENT", "not an ETag"));
  return version.startsWith("W/") ? `W/"${version.slice(2)}"` : `"${version}"`;
}
