import { CacheError } from "@frontcache/proto";
import type { handleUnaryCall } from "@grpc/grpc-js";
import type { Log } from "../../runtime/log.js";
import type { Principal } from "../../security/principal.js";
import { callStatus } from "../call-status.js";
import type { RunningCalls } from "./running-calls.js";

/** Whom a call is made for, and what ends it. */
export interface CallContext {
  readonly principal: Principal;
  /** The client's `address:port`. */
  readonly peer: string;
  /** Aborted when the client cancels or the deadline is over. */
  readonly signal: AbortSignal;
}

export interface UnaryCallOptions {
  readonly calls: RunningCalls;
  /** Whom the calls of an `address:port` are made for. */
  readonly principalOf: (peer: string) => Principal;
  readonly log: Log;
}

/** A unary method from a function that answers or throws a CacheError. */
export function unaryCall<Request, Response>(
  method: string,
  answer: (request: Request, context: CallContext) => Response | Promise<Response>,
  { calls, principalOf, log }: UnaryCallOptions,
): handleUnaryCall<Request, Response> {
  return async (call, callback) => {
    const gone = new AbortController();
    let answered = false;
    call.once("cancelled", calls.begin());
    call.once("cancelled", () => {
      if (!answered) gone.abort(new CacheError("CANCELLED", "the client cancelled the call"));
    });
    try {
      const peer = call.getPeer();
      callback(null, await answer(call.request, { principal: principalOf(peer), peer, signal: gone.signal }));
    } catch (error) {
      callback(callStatus(error, method, log));
    } finally {
      answered = true;
    }
  };
}
