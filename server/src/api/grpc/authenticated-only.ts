import { CacheError } from "@frontcache/proto";
import type { ServerErrorResponse, ServerUnaryCall, sendUnaryData, UntypedServiceImplementation } from "@grpc/grpc-js";
import type { Log } from "../../runtime/log.js";
import type { FailureCount } from "../../security/failure-count.js";
import type { Security } from "../../security/member-security.js";
import { WRONG_TOKEN } from "../../security/tokens.js";
import { callStatus } from "../call-status.js";

/** The handler of a call of any kind. */
type AnyCall = Pick<ServerUnaryCall<unknown, unknown>, "metadata" | "getPeer"> & {
  emit(event: "error", error: unknown): unknown;
};

type AnyHandler = (call: AnyCall, callback: sendUnaryData<unknown> | undefined) => void;

/**
 * Wraps the handlers of a service: only authenticated calls reach them; others end with UNAUTHENTICATED. The interceptors of
 * grpc-js are not used, because they process every message.
 */
export function authenticatedOnly<Handlers extends UntypedServiceImplementation>(
  handlers: Handlers,
  security: Security,
  log: Log,
  failures: FailureCount,
): Handlers {
  const admitted = Object.entries(handlers).map(([name, handler]) => {
    const answer: AnyHandler = (call, callback) => {
      const { tokens } = security;
      if (tokens === undefined || tokens.accepts(authorizationOf(call))) (handler as AnyHandler)(call, callback);
      else {
        failures.failed(WRONG_TOKEN, { listener: "grpc", client: call.getPeer() });
        refuse(call, callback, name, log);
      }
    };
    return [name, answer];
  });
  return Object.fromEntries(admitted);
}

function authorizationOf({ metadata }: AnyCall): string | undefined {
  const [value] = metadata.get("authorization");
  return typeof value === "string" ? value : undefined;
}

function refuse(call: AnyCall, callback: sendUnaryData<unknown> | undefined, method: string, log: Log): void {
  const status: ServerErrorResponse = Object.assign(
    new Error(WRONG_TOKEN),
    callStatus(new CacheError("UNAUTHENTICATED", WRONG_TOKEN), method, log),
  );
  if (callback === undefined) call.emit("error", status);
  else callback(status);
}
