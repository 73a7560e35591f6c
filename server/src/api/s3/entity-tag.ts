/** The ETag header of a version: in quotes, a weak one behind its `W/`. */
export function etagOf(version: string): string {
  return version.startsWith("W/") ? `W/"${version.slice(2)}"` : `"${version}"`;
}

/** The versions that an If-Match or If-None-Match header names, or `*` for whatever there is. */
export type VersionList = "*" | readonly string[];

/** One entity tag, or a bare word, which S3 takes for a tag without its quotes. Anything else up to a comma names nothing. */
const TAG = /[\t ]*(?:(W\/)?"([^"]*)"|([^\t ,"]+)|[^,]*?)[\t ]*(?:,|$)/y;

/** Total: what can't be read as a tag is left out, so that it matches nothing. */
export function parseTags(header: string): VersionList {
  if (header.trim() === "*") return "*";
  const versions: string[] = [];
  for (TAG.lastIndex = 0; TAG.lastIndex < header.length; ) {
    const match = TAG.exec(header);
    if (match === null) break;
    const [, weak = "", quoted, word] = match;
    const name = quoted ?? word;
    if (name !== undefined && name !== "") versions.push(weak + name);
  }
  return versions;
}

/**
 * If-Match: the very version. A weak tag matches an object whose own tag is that weak one, though RFC 9110 has weak tags match
 * nothing here: bytes of one version are never mixed with another's, and such an object could not be pinned otherwise.
 */
export function namesExactly(list: VersionList, version: string): boolean {
  return list === "*" || list.includes(version);
}

/** If-None-Match: weak comparison (RFC 9110, 8.8.3.2). */
export function namesWeakly(list: VersionList, version: string): boolean {
  return list === "*" || list.some((named) => strong(named) === strong(version));
}

function strong(version: string): string {
  return version.startsWith("W/") ? version.slice(2) : version;
}
