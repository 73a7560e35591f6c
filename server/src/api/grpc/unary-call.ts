import { CacheError, type ErrorCode } from "@frontcache/proto";
import { AbortSource } from "@frontcache/proto/runtime";
import type { handleUnaryCall } from "@grpc/grpc-js";
import type { Log } from "../../runtime/log.js";
import type { Principal } from "../../security/principal.js";
import { callStatus } from "../call-status.js";
import { requestIdOf } from "../request-id.js";
import type { CallerOf } from "./call-authentication.js";
import type { RunningCalls } from "./running-calls.js";

/** The principal, the client and the end of a call. */
export interface CallContext {
  readonly principal: Principal;
  /** The client's `address:port`. */
  readonly peer: string;
  /** Aborted when the client cancels or the deadline is over. */
  readonly signal: AbortSignal;
}

export interface UnaryCallOptions {
  readonly calls: RunningCalls;
  /** Returns who makes a call. */
  readonly callerOf: CallerOf;
  readonly log: Log;
}

/** Makes a unary method from a function that returns the response or throws a CacheError. */
export function unaryCall<Request extends object, Response>(
  method: string,
  answer: (request: Request, context: CallContext) => Response | Promise<Response>,
  { calls, callerOf, log }: UnaryCallOptions,
): handleUnaryCall<Request, Response> {
  return async (call, callback) => {
    const cancelled = new AbortSource();
    const { principal, peer } = callerOf(call);
    const about = { requestId: requestIdOf(principal), url: urlOf(call.request), client: peer };
    let code: ErrorCode | "OK" = "OK";
    let answered = false;
    call.once("cancelled", calls.begin());
    call.once("cancelled", () => {
      if (!answered) cancelled.abort(new CacheError("CANCELLED", "the client cancelled the call"));
    });
    try {
      const { client: peer } = about;
      callback(null, await answer(call.request, { principal, peer, signal: cancelled.signal }));
    } catch (error) {
      code = CacheError.from(error).code;
      callback(callStatus(error, method, log, about));
    } finally {
      answered = true;
      if (log.debugEnabled) log.debug({ event: "request", method, ...about, code }, "answered a call");
    }
  };
}

/** The URL that a request names. */
export function urlOf(request: object): string | undefined {
  const url = "key" in request ? request.key : "url" in request ? request.url : undefined;
  return typeof url === "string" ? url : undefined;
}
