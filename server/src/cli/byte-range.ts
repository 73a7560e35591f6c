import { UsageError } from "./exit-code.js";

/** A byte range as in HTTP: from an offset, with a length or to the end; or the last bytes. */
export type ByteRange = { readonly offset: number; readonly length?: number } | { readonly lastBytes: number };

/** Parses `first-last` (both inclusive), `first-` or `-count`. Throws a UsageError. */
export function parseByteRange(text: string): ByteRange {
  const [, first, last] = /^(\d*)-(\d*)$/.exec(text) ?? [];
  const [from, to] = [first, last].map((digits) => (digits ? Number(digits) : undefined));
  const safe = [from, to].every((number) => number === undefined || Number.isSafeInteger(number));
  if (from === undefined) {
    if (to === undefined || !safe || to === 0) throw wrongRange(text);
    return { lastBytes: to };
  }
  if (!safe || (to !== undefined && to < from)) throw wrongRange(text);
  return to === undefined ? { offset: from } : { offset: from, length: to - from + 1 };
}

function wrongRange(text: string): UsageError {
  return new UsageError(`--range: ${JSON.stringify(text)} is not a range: use first-last as in 0-1023, first- or -count`);
}
