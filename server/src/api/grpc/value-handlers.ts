import { CacheError, type ValueAnswer, type ValueCall, type ValueEventMessage, type WatchValuesRequest } from "@frontcache/proto";
import type { FailureCount } from "../../security/failure-count.js";
import { requireMember, requireMemberNamed } from "../../security/member-authentication.js";
import { sendEvents } from "../../values/value-events.js";
import type { ValueService } from "../../values/value-service.js";
import { streamingCall } from "./streaming-call.js";
import { type UnaryCallOptions, unaryCall } from "./unary-call.js";

export interface ValueHandlersOptions extends UnaryCallOptions {
  /** Undefined: this member keeps no values. Throws UNAVAILABLE while the member starts. */
  readonly values: () => ValueService | undefined;
  /** Requests of members' kind that others made. */
  readonly refusals: FailureCount;
  /** Aborted when the listener closes. */
  readonly closing: AbortSignal;
}

/** The handlers of the calls by which members keep values. They are refused to everybody else. */
export function valueHandlers(options: ValueHandlersOptions) {
  const { refusals } = options;
  const service = (): ValueService => {
    const values = options.values();
    if (values !== undefined) return values;
    throw new CacheError("UNAVAILABLE", "this member keeps no values: give all members the same --cache-bucket");
  };
  return {
    callValues: unaryCall<ValueCall, ValueAnswer>(
      "CallValues",
      (call, { principal, peer: client, signal }) => {
        requireMemberNamed(call.name, { what: "CallValues", principal, listener: "grpc", client }, refusals);
        return service().answer(call, signal);
      },
      options,
    ),
    watchValues: streamingCall<WatchValuesRequest, ValueEventMessage>(
      "WatchValues",
      async (request, send, { principal, peer: client, signal }) => {
        requireMember({ what: "WatchValues", principal, listener: "grpc", client }, refusals);
        // A watch has no natural end that a drain could wait for.
        await sendEvents(service().monitors, request, send, AbortSignal.any([signal, options.closing]));
      },
      options,
    ),
  };
}
