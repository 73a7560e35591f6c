import { headerPairs, headerValue, isChecksumHeader, isSameInfo, type ObjectInfo, withMissing } from "@frontcache/proto";

/** GCS counts the changes of an object's metadata. */
const METAGENERATION = "x-goog-metageneration";

/**
 * What is known of an object after a later observation. The later one counts, also if the version is the same. What it cannot have
 * is taken from an earlier observation of the same version. Returns `known` if nothing has changed, so that equal records are one
 * object.
 */
export function laterInfo(known: ObjectInfo | undefined, later: ObjectInfo): ObjectInfo {
  if (known === undefined || known.version !== later.version) return later;
  const info = completed(known, later);
  return isSameInfo(known, info) ? known : info;
}

function completed(known: ObjectInfo, later: ObjectInfo): ObjectInfo {
  if (later.lacks === undefined || known.lacks === "metadata") return later;
  if (later.lacks === "checksums") {
    return known.lastModifiedMs === later.lastModifiedMs ? withHeaders(later, known, isChecksumHeader) : later;
  }
  const [before, now] = [known, later].map(({ headers = "" }) => headerValue(headers, METAGENERATION));
  if (before === undefined || now === undefined) return withHeaders(later, known, () => true);
  return before === now ? known : later;
}

/** An observation with those headers of an earlier one that it does not have itself. */
function withHeaders(later: ObjectInfo, known: ObjectInfo, isTaken: (name: string) => boolean): ObjectInfo {
  const { lacks: _, ...info } = later;
  const taken = [...headerPairs(known.headers ?? "")].filter(([name]) => isTaken(name));
  const headers = taken.length === 0 ? later.headers : withMissing(later.headers ?? "", taken);
  return { ...info, ...(headers !== undefined && { headers }), ...(known.lacks !== undefined && { lacks: known.lacks }) };
}
