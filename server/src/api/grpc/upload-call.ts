import { CacheError, type ErrorCode } from "@frontcache/proto";
import type { ServerReadableStream, sendUnaryData } from "@grpc/grpc-js";
import type { Clock } from "../../runtime/clock.js";
import { callStatus } from "../call-status.js";
import { requestIdOf } from "../request-id.js";
import { type CallContext, type UnaryCallOptions, urlOf } from "./unary-call.js";

/** A client that sends nothing for so long has failed. As over HTTP. */
const IDLE_MS = 20_000;

export interface UploadCallOptions extends UnaryCallOptions {
  readonly clock: Clock;
}

/**
 * Makes a client-streaming method from a function that takes the first message and all further ones, and returns the response or
 * throws a CacheError. The messages end with CANCELLED if the client cancels, and with DEADLINE_EXCEEDED if it stops sending.
 */
export function uploadCall<Request extends object, Response>(
  method: string,
  answer: (first: Request, others: AsyncIterable<Request>, context: CallContext) => Promise<Response>,
  { calls, callerOf, clock, log }: UploadCallOptions,
): (call: ServerReadableStream<Request, Response>, callback: sendUnaryData<Response>) => Promise<void> {
  return async (call, callback) => {
    const cancelled = new AbortController();
    const { principal, peer } = callerOf(call);
    let answered = false;
    call.once("cancelled", calls.begin());
    call.once("cancelled", () => {
      if (!answered) cancelled.abort(new CacheError("CANCELLED", "the client cancelled the call"));
    });
    // The iterator reports it, while there is one.
    call.on("error", () => {});
    const { signal } = cancelled;
    const messages = receive<Request>(call, clock, signal);
    let about: { requestId: string; client: string; url: string | undefined } = {
      requestId: requestIdOf(principal),
      client: peer,
      url: undefined,
    };
    let code: ErrorCode | "OK" = "OK";
    try {
      const first = await messages.next();
      if (first.done === true) throw new CacheError("INVALID_ARGUMENT", `${method}: the call has no message`);
      about = { ...about, url: urlOf(first.value) };
      const response = await answer(first.value, messages, { principal, peer, signal });
      callback(null, response);
    } catch (error) {
      code = CacheError.from(error).code;
      callback(callStatus(error, method, log, about));
    } finally {
      answered = true;
      await messages.return();
      if (log.debugEnabled) log.debug({ event: "request", method, ...about, code }, "answered a call");
    }
  };
}

async function* receive<Request>(
  call: AsyncIterable<unknown>,
  clock: Clock,
  signal: AbortSignal,
): AsyncGenerator<Request, void, void> {
  const arriving = call[Symbol.asyncIterator]() as AsyncIterator<Request, void>;
  try {
    for (;;) {
      const next = await withinIdleTime(arriving.next(), clock);
      if (next.done === true) return;
      yield next.value;
    }
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  }
}

function withinIdleTime<Result>(work: Promise<Result>, clock: Clock): Promise<Result> {
  return new Promise((resolve, reject) => {
    const cancel = clock.after(IDLE_MS, () => {
      const message = `The client sent nothing for ${IDLE_MS} ms.`;
      reject(new CacheError("DEADLINE_EXCEEDED", message, { s3Code: "RequestTimeout" }));
    });
    work.finally(cancel).then(resolve, reject);
  });
}
