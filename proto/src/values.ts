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
