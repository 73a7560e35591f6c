/** What an entity tag may hold (RFC 9110, 8.8.3). */
const VERSION = /^(?!W\/$)[\x21\x23-\x7e\x80-\xff]+$/;
const TAG = /^(W\/)?"([\x21\x23-\x7e\x80-\xff]+)"$/;

/** Whether a version can be asked for by HTTP: as those of S3 and GCS can, and the current one, which is empty. */
export function canBeTag(version: string): boolean {
  return version === "" || VERSION.test(version);
}

/** A version as an entity tag: in quotes; an origin's weak tag is a version that begins with `W/`, which stays in front. */
export function entityTagOf(version: string): string {
  return version.startsWith("W/") ? `W/"${version.slice(2)}"` : `"${version}"`;
}

/** The version that an ETag header names; undefined: it is no entity tag. */
export function versionOf(etag: string): string | undefined {
  const match = TAG.exec(etag);
  return match === null ? undefined : `${match[1] ?? ""}${match[2]}`;
}
