import { CacheError } from "@frontcache/proto";

/** What the Content-Range of a request to an upload session says. */
export interface ContentRange {
  /** Bytes of the body. Undefined: unknown. */
  readonly length: number | undefined;
  /** GCS may complete the object by this request. */
  readonly mayComplete: boolean;
  /** The body is the whole object. */
  readonly isWhole: boolean;
}

const RANGE = /^bytes (?:\*|(\d{1,15})-(?:(\d{1,15})|\*))\/(?:(\d{1,15})|\*)$/;

/**
 * Reads the Content-Range of a request to an upload session: `bytes 0-99/200`, a part; `bytes 100-*` with `/200` or `/*`, all that is
 * left; `bytes *` with `/*` or `/200`, a question how much has arrived, which completes an upload of just this many bytes. Absent: the body
 * is the whole object. Throws INVALID_ARGUMENT.
 */
export function contentRangeOf(header: string | undefined): ContentRange {
  if (header === undefined) return { length: undefined, mayComplete: true, isWhole: true };
  const found = RANGE.exec(header);
  if (found === null) throw invalid(header);
  const [, from, to, size] = found.map((text) => (text === undefined ? undefined : Number(text)));
  if (from === undefined) return { length: 0, mayComplete: size !== undefined, isWhole: size === 0 };
  const end = to === undefined ? size : to + 1;
  if (end !== undefined && (end < from || end > (size ?? end))) throw invalid(header);
  const isLast = to === undefined || end === size;
  return { length: end === undefined ? undefined : end - from, mayComplete: isLast, isWhole: isLast && from === 0 };
}

function invalid(header: string): CacheError {
  return new CacheError("INVALID_ARGUMENT", `Content-Range ${JSON.stringify(header.slice(0, 100))} is not one of an upload`);
}
