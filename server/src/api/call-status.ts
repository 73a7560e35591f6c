import { answeredTrailers } from "@frontcache/client/grpc";
import { CacheError, type ErrorCode } from "@frontcache/proto";
import type { Metadata, status } from "@grpc/grpc-js";
import { describeCause } from "../runtime/causes.js";
import type { Log } from "../runtime/log.js";

/** The gRPC status of a failed call. */
export interface CallStatus {
  readonly code: status;
  /** The message for the caller, on one line. */
  readonly details: string;
  /** Trailers; absent if another member may answer instead. */
  readonly metadata?: Metadata;
}

/** The error of a member that is starting. Another member may answer. */
export class NotServing extends CacheError {
  constructor() {
    super("UNAVAILABLE", "this member is starting: ask another one, or try again");
  }
}

/** The error of an overloaded member. Another member, or this one later, may answer. */
export class Busy extends CacheError {
  constructor(why: string) {
    super("RESOURCE_EXHAUSTED", `this member is busy, ${why}: try again later, or another member`);
  }
}

/** Failures that concern the operator. The others concern the caller, or are not worth a log line each. */
const LOGGED: ReadonlySet<ErrorCode> = new Set(["INTERNAL", "UNAVAILABLE", "RESOURCE_EXHAUSTED"]);

/** Starts of a read without a version if the object is overwritten each time before its first byte is sent. */
export const MAX_STARTS = 3;

/** Whether a read without a version failed because the object was overwritten after the read had chosen a version. */
export function wasOverwritten(error: unknown, version: string | undefined): boolean {
  return version === undefined && CacheError.from(error).code === "FAILED_PRECONDITION";
}

/**
 * Returns the error of a read of which no byte was sent. A read without a version has no precondition that could fail: if the object
 * was overwritten each time the read began, the client should try again.
 */
export function readFailure(error: unknown, url: string, version: string | undefined): CacheError {
  const failure = CacheError.from(error);
  if (!wasOverwritten(failure, version)) return failure;
  return new CacheError("UNAVAILABLE", `${url}: the object changes faster than it can be read: try again`, { cause: failure });
}

/**
 * Maximum characters of a sent message. If trailers are too long, grpc-js never sends them, and the caller never gets an answer.
 */
const MAX_DETAILS = 4_000;

/** The subject of a call, for the log. */
interface About {
  readonly url?: string | undefined;
  readonly client?: string | undefined;
  readonly requestId?: string | undefined;
}

/**
 * Converts a thrown value to a call's status. The cause is logged and not sent. `details` is made well
 * formed, because grpc-js throws when it escapes a lone surrogate.
 */
export function callStatus(error: unknown, method: string, log: Log, about: About = {}): CallStatus {
  const known = CacheError.from(error);
  if (LOGGED.has(known.code) && !(known instanceof NotServing || known instanceof Busy)) {
    const isDefect = known.code === "INTERNAL";
    const fields = {
      event: "call-failed",
      method,
      ...about,
      code: known.code,
      cause: describeCause(known.cause, isDefect),
    };
    if (isDefect) log.error(fields, known.message);
    else log.warn(fields, known.message);
  }
  const status = { code: known.grpcStatus, details: known.message.slice(0, MAX_DETAILS).toWellFormed() };
  // A member itself cancels reads only when it shuts down.
  const answered = !(known instanceof NotServing) && known.code !== "CANCELLED";
  return answered ? { ...status, metadata: answeredTrailers(known) } : status;
}
