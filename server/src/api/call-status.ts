import { answeredTrailers } from "@frontcache/client/grpc";
import { CacheError, type ErrorCode } from "@frontcache/proto";
import type { Metadata, status } from "@grpc/grpc-js";
import { describeCause } from "../runtime/causes.js";
import type { Log } from "../runtime/log.js";

/** What a call ends with that failed. */
export interface CallStatus {
  readonly code: status;
  /** The line for the caller. */
  readonly details: string;
  /** Trailers; absent where another member may answer in place of this one. */
  readonly metadata?: Metadata;
}

/** This member does not serve: it is starting. Another one may answer. */
export class NotServing extends CacheError {
  constructor() {
    super("UNAVAILABLE", "this member is starting: ask another one, or try again");
  }
}

/** This member has too much to do. Another one has perhaps less, and so has this one soon. */
export class Busy extends CacheError {
  constructor(why: string) {
    super("RESOURCE_EXHAUSTED", `this member is busy, ${why}: try again later, or another member`);
  }
}

/** Failures that somebody here should look at; the others are the caller's business, or not worth a line each. */
const LOGGED: ReadonlySet<ErrorCode> = new Set(["INTERNAL", "UNAVAILABLE", "RESOURCE_EXHAUSTED"]);

/** Characters of a message that go over the wire: trailers that are too long are never sent, and the caller waits for ever. */
const MAX_DETAILS = 4_000;

/** What a failed call was about, for the log. */
interface About {
  readonly url?: string | undefined;
  readonly client?: string | undefined;
  readonly requestId?: string | undefined;
}

/**
 * Turns whatever was thrown into a call's status. The cause goes to the log and not over the wire. `details` is made well
 * formed, because grpc-js throws on a lone surrogate when it escapes it.
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
  // A member has no reason of its own to cancel a read but its end.
  const answered = !(known instanceof NotServing) && known.code !== "CANCELLED";
  return answered ? { ...status, metadata: answeredTrailers(known) } : status;
}
