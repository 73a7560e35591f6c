/**
 * Versions and entity tags (RFC 9110, 8.8.3). A version is an ETag without its quotes. A weak tag's version keeps the mark `W/` in
 * front: `W/"abc"` is the version `W/abc`.
 */

/** Characters that a tag may contain between its quotes. */
const OPAQUE = "[\\x21\\x23-\\x7e\\x80-\\xff]+";
const VERSION = new RegExp(`^(?!W/$)${OPAQUE}$`);
const TAG = new RegExp(`^(W/)?"(${OPAQUE})"$`);

/** Whether a version can be written as an entity tag. The empty version (the current one) and `W/` alone cannot. */
export function canBeEntityTag(version: string): boolean {
  return VERSION.test(version);
}

/** The entity tag of a version: in quotes, with the mark of a weak tag before them. */
export function entityTagOf(version: string): string {
  return version.startsWith("W/") ? `W/"${version.slice(2)}"` : `"${version}"`;
}

/** The version that an ETag header names; undefined if the header is not one entity tag. */
export function versionOfEntityTag(etag: string): string | undefined {
  const match = TAG.exec(etag);
  return match === null ? undefined : `${match[1] ?? ""}${match[2]}`;
}

/** The version in an object store's ETag. Some stores omit the quotes. Undefined if the tag is missing or empty. */
export function versionOfStoreTag(etag: string | undefined): string | undefined {
  const match = /^(W\/)?"?([^"]+)"?$/.exec(etag ?? "");
  return match === null ? undefined : `${match[1] ?? ""}${match[2]}`;
}

/** The versions that an If-Match or If-None-Match header names, or `*` for any version. */
export type VersionList = "*" | readonly string[];

/** One entity tag, or a bare word, which S3 reads as a tag without its quotes. Anything else up to a comma names nothing. */
const LIST_ITEM = /[\t ]*(?:(W\/)?"([^"]*)"|([^\t ,"]+)|[^,]*?)[\t ]*(?:,|$)/y;

/** Reads a list of entity tags. It never throws: an item that is not a tag is omitted and matches nothing. */
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
 * Comparison for If-Match: the exact version. A weak tag matches an object whose own tag is that weak tag, although by RFC 9110 no
 * weak tag matches here. Otherwise reads of such an object could not be pinned to one version.
 */
export function matchesExactly(list: VersionList, version: string): boolean {
  return list === "*" || list.includes(version);
}

/** Comparison for If-None-Match: weak (RFC 9110, 8.8.3.2). */
export function matchesWeakly(list: VersionList, version: string): boolean {
  return list === "*" || list.some((named) => withoutMark(named) === withoutMark(version));
}

function withoutMark(version: string): string {
  return version.startsWith("W/") ? version.slice(2) : version;
}
