import { setMaxListeners } from "node:events";
import { CacheError } from "@frontcache/proto";
import { whenAborted } from "@frontcache/proto/runtime";
import type { ServerWritableStream } from "@grpc/grpc-js";
import { callStatus } from "../call-status.js";
import type { CallContext, UnaryCallOptions } from "./unary-call.js";

/**
 * A server-streaming method from a function that sends messages. `send` resolves when the message is on its way, or nobody is
 * there to take it.
 */
export function streamingCall<Request, Response>(
  method: string,
  run: (request: Request, send: (message: Response) => Promise<void>, context: CallContext) => Promise<void>,
  { calls, callerOf, log }: UnaryCallOptions,
): (call: ServerWritableStream<Request, Response>) => Promise<void> {
  return async (call) => {
    const gone = new AbortController();
    setMaxListeners(0, gone.signal);
    let ended = false;
    call.once("cancelled", calls.begin());
    call.once("cancelled", () => {
      if (!ended) gone.abort(new CacheError("CANCELLED", "the client cancelled the call"));
    });
    const send = (message: Response): Promise<void> =>
      new Promise((resolve) => {
        if (gone.signal.aborted) return resolve();
        const forget = whenAborted(gone.signal, resolve);
        call.write(message, () => {
          forget();
          resolve();
        });
      });
    try {
      await run(call.request, send, { ...callerOf(call), signal: gone.signal });
      ended = true;
      call.end();
    } catch (error) {
      ended = true;
      call.emit("error", callStatus(error, method, log));
    }
  };
}
