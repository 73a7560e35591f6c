/** What a Range header asks for, before the object's size is known. */
export type RequestedRange =
  /** `last` is the last byte's offset; Infinity: to the end. */
  { readonly form: "from"; readonly first: number; readonly last: number } | { readonly form: "suffix"; readonly length: number };

/**
 * The one range of a Range header. Undefined where the header is to be ignored and the whole object is the answer: no header,
 * several ranges, another unit, bad syntax. S3 does the same, and RFC 9110 (14.2) allows it.
 */
export function parseRange(header: string | undefined): RequestedRange | undefined {
  const match = header === undefined ? null : /^bytes=(\d*)-(\d*)$/i.exec(header);
  if (match === null) return undefined;
  const [first, last] = [match[1]!, match[2]!];
  if (first === "") return last === "" ? undefined : { form: "suffix", length: Number(last) };
  const range = { form: "from", first: Number(first), last: last === "" ? Number.POSITIVE_INFINITY : Number(last) } as const;
  return range.last < range.first ? undefined : range;
}

/** Where a range of an object lies: `end` is one past its last byte. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** The bytes that the range means in an object of this size; undefined where there are none (416). */
export function spanOf(range: RequestedRange, objectSize: number): Span | undefined {
  const start = range.form === "suffix" ? Math.max(0, objectSize - range.length) : range.first;
  const end = range.form === "suffix" ? objectSize : Math.min(objectSize, range.last + 1);
  return start < end ? { start, end } : undefined;
}

/** A range as the cache takes it; `length` 0: to the object's end. */
export interface DirectRange {
  readonly offset: number;
  readonly length: number;
}

/** Undefined if the range depends on the object's size: a suffix, or an offset that is no exact number. */
export function directRange(range: RequestedRange | undefined): DirectRange | undefined {
  if (range === undefined) return { offset: 0, length: 0 };
  if (range.form === "suffix" || !Number.isSafeInteger(range.first)) return undefined;
  const end = range.last + 1;
  return { offset: range.first, length: Number.isSafeInteger(end) ? end - range.first : 0 };
}
