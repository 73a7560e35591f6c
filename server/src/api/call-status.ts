import { CacheError, type ErrorCode } from "@frontcache/proto";
import type { status } from "@grpc/grpc-js";
import type { Log } from "../runtime/log.js";

/** What a call ends with that failed. */
export interface CallStatus {
  readonly code: status;
  /** The line for the caller. */
  readonly details: string;
}

/** Failures that somebody here should look at; the others are the caller's business, or not worth a line each. */
const LOGGED: ReadonlySet<ErrorCode> = new Set(["INTERNAL", "UNAVAILABLE", "RESOURCE_EXHAUSTED"]);

/**
 * Turns whatever was thrown into a call's status. The cause goes to the log and not over the wire. `details` is made well
 * formed, because grpc-js throws on a lone surrogate when it escapes it.
 */
export function callStatus(error: unknown, method: string, log: Log): CallStatus {
  const known = CacheError.from(error);
  if (LOGGED.has(known.code)) {
    const fields = { event: "call-failed", method, code: known.code, message: known.message, cause: describe(known.cause) };
    if (known.code === "INTERNAL") log.error(fields);
    else log.warn(fields);
  }
  return { code: known.grpcStatus, details: known.message.toWellFormed() };
}

/** A cause and the causes behind it, with the stack of the first, where the defect is. */
function describe(cause: unknown): string | undefined {
  if (cause === undefined) return undefined;
  if (!(cause instanceof Error)) return String(cause);
  const behind = describe(cause.cause);
  return `${cause.stack ?? cause.message}${behind === undefined ? "" : `\ncaused by: ${behind}`}`;
}
