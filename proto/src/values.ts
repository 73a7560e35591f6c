import { CacheError } from "./errors.js";

/** A value: an object without an origin, `cache://bucket/key`. */
export interface ValueInfo {
  readonly url: string;
  /** Hybrid logical time and member as text. Of two versions, the one that compares larger is the newer one. */
  readonly version: string;
  readonly size: number;
  /** Milliseconds since 1970. */
  readonly createdMs: number;
  /** From then on the value is missing. Absent: it never expires. */
  readonly expiresMs?: number | undefined;
  /** A number that the client chose, 0 to 2^32 - 1. */
  readonly flags: number;
  /** What the client said about the value. Names in lower case. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Absent: the client named none. */
  readonly contentType?: string | undefined;
}

/** What a client says about a new value. */
export interface ValueDescription {
  /** Seconds until it expires; 0: never. Default: as long as values of the bucket live by default. */
  readonly ttlSeconds?: number | undefined;
  /** A number from 0 to 2^32 - 1. Default 0. */
  readonly flags?: number | undefined;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  readonly contentType?: string | undefined;
}

/** A range of bytes: `end` is one past the last. */
export interface ByteSpan {
  readonly start: number;
  readonly end: number;
}

/** How much of an upload of ranges has been written. */
export interface Completion {
  readonly size: number;
  readonly presentBytes: number;
  /** Sorted, disjoint, not adjacent. */
  readonly present: readonly ByteSpan[];
  readonly missing: readonly ByteSpan[];
}

/** An event of a key: a writer began, a value can be read, a value was deleted or has expired. */
export interface ValueEvent {
  readonly event: "insert" | "ready" | "delete";
  readonly url: string;
  /** Of `ready`. */
  readonly info?: ValueInfo | undefined;
}

/** Why a request conflicts with another one, or with the state of the value. */
export type ConflictReason = "already_started" | "exists" | "incomplete" | "locked" | "finalizing";

const REASONS: ReadonlySet<string> = new Set<ConflictReason>(["already_started", "exists", "incomplete", "locked", "finalizing"]);

/** Returns the reason that a text names; undefined: none. */
export function conflictReasonOf(text: unknown): ConflictReason | undefined {
  return typeof text === "string" && REASONS.has(text) ? (text as ConflictReason) : undefined;
}

/** A request that another one, or the state of the value, stands against. Its code is FAILED_PRECONDITION; HTTP interfaces answer 409. */
export class ValueConflict extends CacheError {
  readonly reason: ConflictReason;
  /** Of `incomplete`: what is missing. */
  readonly completion: Completion | undefined;

  constructor(reason: ConflictReason, message: string, completion?: Completion, options: { readonly cause?: unknown } = {}) {
    super("FAILED_PRECONDITION", message, { ...options, s3Code: "OperationAborted" });
    this.reason = reason;
    this.completion = completion;
  }
}

/** The largest time to live, seconds: 100 years. */
const MAX_TTL_SECONDS = 100 * 365 * 86_400;
export const MAX_FLAGS = 0xffff_ffff;
/** Bytes of names and values of metadata, as in S3. */
const MAX_METADATA_BYTES = 2 << 10;
/** Names of metadata are parts of the names of headers. */
const METADATA_NAME = /^[!#$%&'*+.^_`|~0-9a-z-]+$/;
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
/** The largest value: 64 Ki blocks of 16 MiB. */
export const MAX_VALUE_BYTES = 2 ** 40;

/** Checks what a client says about a value. Throws INVALID_ARGUMENT. */
export function checkDescription(
  url: string,
  { ttlSeconds, flags = 0, metadata = {}, contentType = "" }: ValueDescription,
): void {
  const isTtl = ttlSeconds === undefined || (Number.isInteger(ttlSeconds) && ttlSeconds >= 0 && ttlSeconds <= MAX_TTL_SECONDS);
  if (!isTtl) throw invalid(url, `the time to live is a whole number of seconds, 0 (never expires) to ${MAX_TTL_SECONDS}`);
  const isFlags = Number.isInteger(flags) && flags >= 0 && flags <= MAX_FLAGS;
  if (!isFlags) throw invalid(url, `flags are a whole number, 0 to ${MAX_FLAGS}`);
  if (!HEADER_VALUE.test(contentType)) throw invalid(url, "the content type is not a header's value");
  const wrong = Object.keys(metadata).find((name) => !METADATA_NAME.test(name));
  if (wrong !== undefined) {
    throw invalid(url, `the name of metadata ${JSON.stringify(wrong)} is not that of a header in lower case`);
  }
  const bytes = Object.entries(metadata).reduce(
    (sum, [name, value]) => sum + Buffer.byteLength(name + value),
    contentType.length,
  );
  if (bytes > MAX_METADATA_BYTES) throw invalid(url, `metadata has at most ${MAX_METADATA_BYTES} bytes`);
}

/** Checks the size of a value. Throws INVALID_ARGUMENT. */
export function checkSize(url: string, size: number, least: number): void {
  if (Number.isSafeInteger(size) && size >= least && size <= MAX_VALUE_BYTES) return;
  throw invalid(url, `the size of a value is ${least} to ${MAX_VALUE_BYTES} bytes`);
}

function invalid(url: string, message: string): CacheError {
  return new CacheError("INVALID_ARGUMENT", `${url}: ${message}`);
}
