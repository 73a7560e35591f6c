import { CacheError } from "@frontcache/proto";
import type { handleUnaryCall } from "@grpc/grpc-js";
import type { Log } from "../../runtime/log.js";
import { callStatus } from "../call-status.js";
import type { RunningCalls } from "./running-calls.js";

/**
 * A unary method from a function that answers or throws a CacheError. Its signal is aborted when the client cancels or
 * the deadline is over.
 */
export function unaryCall<Request, Response>(
  method: string,
  answer: (request: Request, signal: AbortSignal) => Response | Promise<Response>,
  { calls, log }: { calls: RunningCalls; log: Log },
): handleUnaryCall<Request, Response> {
  return async (call, callback) => {
    const gone = new AbortController();
    let answered = false;
    call.once("cancelled", calls.begin());
    call.once("cancelled", () => {
      if (!answered) gone.abort(new CacheError("CANCELLED", "the client cancelled the call"));
    });
    try {
      callback(null, await answer(call.request, gone.signal));
    } catch (error) {
      callback(callStatus(error, method, log));
    } finally {
      answered = true;
    }
  };
}
