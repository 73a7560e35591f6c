import { CacheError } from "@frontcache/proto";
import type { ServerErrorResponse, ServerUnaryCall, sendUnaryData, UntypedServiceImplementation } from "@grpc/grpc-js";
import type { Log } from "../../runtime/log.js";
import type { ConnectionAuthentication } from "../../security/connection-authentication.js";
import type { FailureCount } from "../../security/failure-count.js";
import { AccessDenied, type Authorization } from "../../security/grants/authorization.js";
import { ANONYMOUS, type Principal, type RequestSource, requesting } from "../../security/principal.js";
import { callStatus } from "../call-status.js";
import { nextRequestId } from "../request-id.js";

/** The handler of a call of any kind. */
type AnyCall = Pick<ServerUnaryCall<unknown, unknown>, "metadata" | "getPeer" | "cancelled"> & {
  emit(event: "error", error: unknown): unknown;
};

type AnyHandler = (call: AnyCall, callback: sendUnaryData<unknown> | undefined) => void;

/** Who makes a call. */
export interface Caller {
  readonly principal: Principal;
  /** `address:port`. grpc-js takes microseconds to find it. */
  readonly peer: string;
}

/** Returns who makes a call that was authenticated. */
export type CallerOf = (call: Pick<AnyCall, "getPeer">) => Caller;

/** A property of the call, since a WeakMap makes each call survive until a full collection has looked at it. */
const CALLER = Symbol("caller");

export interface CallAuthenticationOptions {
  /** Returns the authentication of the connection from an `address:port`; undefined: it is closed. */
  readonly connectionOf: (peer: string) => Pick<ConnectionAuthentication, "authenticate"> | undefined;
  /** Decides who may call. */
  readonly authorization: Pick<Authorization, "checkCaller" | "audit">;
  /** Counts calls without valid credentials. */
  readonly failures: FailureCount;
  readonly log: Log;
}

/** Authenticates gRPC calls, and knows who makes a running one. */
export class CallAuthentication {
  readonly #options: CallAuthenticationOptions;

  constructor(options: CallAuthenticationOptions) {
    this.#options = options;
  }

  /** Who makes an authenticated call. */
  readonly callerOf: CallerOf = (call) =>
    (call as { [CALLER]?: Caller })[CALLER] ?? { principal: ANONYMOUS, peer: call.getPeer() };

  /**
   * Wraps the handlers of a service: only authenticated calls reach them; others end with UNAUTHENTICATED. The interceptors of
   * grpc-js are not used, because they process every message.
   */
  authenticatedOnly<Handlers extends UntypedServiceImplementation>(handlers: Handlers): Handlers {
    const wrapped = Object.entries(handlers).map(([name, handler]) => {
      const answer: AnyHandler = (call, callback) => {
        const peer = call.getPeer();
        const proceed = (identity: Principal): void => {
          const principal = this.#requesting(identity, peer);
          try {
            this.#options.authorization.checkCaller(principal);
          } catch (error) {
            refuse(error);
            return;
          }
          (call as { [CALLER]?: Caller })[CALLER] = { principal, peer };
          (handler as AnyHandler)(call, callback);
        };
        const refuse = (error: unknown): void => this.#refuse(call, callback, name, error);
        let found: Principal | Promise<Principal>;
        try {
          found = this.#authenticate(call, peer);
        } catch (error) {
          refuse(error);
          return;
        }
        if (found instanceof Promise) found.then((principal) => call.cancelled || proceed(principal), refuse);
        else proceed(found);
      };
      return [name, answer];
    });
    return Object.fromEntries(wrapped);
  }

  #authenticate(call: AnyCall, peer: string): Principal | Promise<Principal> {
    const connection = this.#options.connectionOf(peer);
    if (connection === undefined) throw new CacheError("CANCELLED", "the connection is closed");
    return connection.authenticate({ headers: { authorization: authorizationOf(call) } });
  }

  /** The principal of a call, with its source if somebody keeps a record of it. */
  #requesting(identity: Principal, peer: string): Principal {
    const isRecorded = this.#options.authorization.audit !== undefined && !identity.isMember;
    return isRecorded ? requesting(identity, sourceOf(peer)) : identity;
  }

  #refuse(call: AnyCall, callback: sendUnaryData<unknown> | undefined, method: string, thrown: unknown): void {
    const { failures, log, authorization } = this.#options;
    const error = CacheError.from(thrown);
    failures.failed(error.message, { listener: "grpc", client: call.getPeer() });
    // What is denied has been recorded where it was decided.
    if (!(error instanceof AccessDenied)) {
      const of = { operation: method, object: "", source: sourceOf(call.getPeer()), reason: error.message };
      authorization.audit?.record({ outcome: "unauthenticated", ...of });
    }
    const status: ServerErrorResponse = Object.assign(new Error(error.message), callStatus(error, method, log));
    if (callback === undefined) call.emit("error", status);
    else callback(status);
  }
}

function sourceOf(address: string): RequestSource {
  return { listener: "grpc", address, requestId: nextRequestId() };
}

function authorizationOf({ metadata }: AnyCall): string | undefined {
  const [value] = metadata.get("authorization");
  return typeof value === "string" ? value : undefined;
}
