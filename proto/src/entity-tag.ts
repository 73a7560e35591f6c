/**
 * Versions and entity tags (RFC 9110, 8.8.3). A version is an ETag without its quotes. A weak tag's version keeps the mark `W/`
 * in front: `W/"abc"` is the version `W/abc`.
 */

/** Characters that a tag may contain between its quotes. */
const OPAQUE = "[\\x21\\x23-\\x7e\\x80-\\xff]+";
const VERSION = new RegExp(`^(?!W/$)${OPAQUE}$`);
const TAG = new RegExp(`^(W/)?"(${OPAQUE})"$`);

/** Returns whether a version can be written as an entity tag. The empty version (the current one) and `W/` alone cannot. */
export function canBeEntityTag(version: string): boolean {
  return VERSION.test(version);
}

/** Returns the entity tag of a version: in quotes, preceded by `W/` if it is weak. */
export function entityTagOf(version: string): string {
  return version.startsWith("W/") ? `W/"${version.slice(2)}"` : `"${version}"`;
}

/** Returns the version in an ETag header; undefined if the header is not exactly one entity tag. */
export function versionOfEntityTag(etag: string): string | undefined {
  const match = TAG.exec(etag);
  return match === null ? undefined : `${match[1] ?? ""}${match[2]}`;
}

/** Returns the version in an object store's ETag, which may lack the quotes; undefined if the tag is missing or empty. */
export function versionOfStoreTag(etag: string | undefined): string | undefined {
  const match = /^(W\/)?"?([^"]+)"?$/.exec(etag ?? "");
  return match === null ? undefined : `${match[1] ?? ""}${match[2]}`;
}

/** The versions that an If-Match or If-None-Match header names, or `*` for any version. */
export type VersionList = "*" | readonly string[];

/** One entity tag, or a bare word, which S3 accepts as a tag without quotes. Any other text up to a comma is ignored. */
const LIST_ITEM = /[\t ]*(?:(W\/)?"([^"]*)"|([^\t ,"]+)|[^,]*?)[\t ]*(?:,|$)/y;

/** Parses a list of entity tags. Never throws: items that are not tags are omitted, so they match nothing. */
export function parseEntityTags(header: string): VersionList {
  if (header.trim() === "*") return "*";
  const versions: string[] = [];
  for (LIST_ITEM.lastIndex = 0; LIST_ITEM.lastIndex < header.length; ) {
    const match = LIST_ITEM.exec(header);
    if (match === null) break;
    const [, weak = "", quoted, word] = match;
    const name = quoted ?? word;
    if (name !== undefined && name !== "") versions.push(weak + name);
  }
  return versions;
}

/**
 * Compares for If-Match: the versions must be equal. A weak tag matches an object that has the same weak tag, although RFC 9110
 * forbids it. Otherwise reads of such an object could not be pinned to one version.
 */
export function matchesExactly(list: VersionList, version: string): boolean {
  return list === "*" || list.includes(version);
}

/** Compares for If-None-Match: weak comparison (RFC 9110, 8.8.3.2). */
export function matchesWeakly(list: VersionList, version: string): boolean {
  return list === "*" || list.some((named) => withoutMark(named) === withoutMark(version));
}

function withoutMark(version: string): string {
  return version.startsWith("W/") ? version.slice(2) : version;
}
