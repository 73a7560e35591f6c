import { abortError, CacheError, errorCodeOfGrpc } from "@frontcache/proto";
import type { CallOptions, ClientReadableStream, ClientUnaryCall, ServiceError } from "@grpc/grpc-js";
import { type CallLimits, type MemberAddress, Unreachable } from "../transport.js";
import { isUnreachable } from "./call-metadata.js";
import type { MemberCalls } from "./grpc-channels.js";

/** What is known of a call to one member. */
export interface CallAbout {
  readonly address: MemberAddress;
  /** What it is about, at the beginning of its error messages; an object's URL, for example. */
  readonly subject: string;
  readonly limits: CallLimits;
}

/** One gRPC call to one member. */
export interface GrpcCall extends CallAbout {
  readonly client: MemberCalls;
}

/**
 * How much later than ours a member's deadline is, milliseconds. Ours ends the call by cancelling it; the member's is there
 * for a cancellation that never arrives.
 */
const DEADLINE_GRACE_MS = 1_000;

/** A call's options: the deadline, where there is one. */
export function callOptions(limits: CallLimits): CallOptions {
  const remainingMs = limits.remainingMs();
  return Number.isFinite(remainingMs) ? { deadline: Date.now() + remainingMs + DEADLINE_GRACE_MS } : {};
}

/** Hands over a stream's messages until it ends. What `onMessage` throws cancels the stream and is what this rejects with. */
export function receiveAll<Message>(
  stream: Pick<ClientReadableStream<Message>, "on" | "cancel">,
  onMessage: (message: Message) => void,
  call: CallAbout,
): Promise<void> {
  const { signal } = call.limits;
  return new Promise((resolve, reject) => {
    let refusal: { readonly reason: unknown } | undefined;
    let settled = false;
    const onAbort = (): void => stream.cancel();
    const settle = (then: () => void): void => {
      if (settled) return;
      settled = true;
      signal.removeEventListener("abort", onAbort);
      then();
    };
    stream.on("data", (message: Message) => {
      if (settled || refusal !== undefined) return;
      try {
        onMessage(message);
      } catch (reason) {
        refusal = { reason };
        stream.cancel();
      }
    });
    stream.on("error", (error: ServiceError) =>
      settle(() => reject(refusal === undefined ? failureOf(error, call) : refusal.reason)),
    );
    stream.on("end", () => settle(() => (refusal === undefined ? resolve() : reject(refusal.reason))));
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
  });
}

/** The one answer of a call. */
export function receiveOne<Answer>(
  start: (callback: (error: ServiceError | null, answer: Answer) => void) => ClientUnaryCall,
  call: GrpcCall,
): Promise<Answer> {
  const { signal } = call.limits;
  return new Promise((resolve, reject) => {
    const onAbort = (): void => running.cancel();
    const running = start((error, answer) => {
      signal.removeEventListener("abort", onAbort);
      if (error === null) resolve(answer);
      else reject(failureOf(error, call));
    });
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
  });
}

/**
 * A failed call's CacheError. The member's own words are kept; they name the object. A cancellation that isn't the caller's
 * is ours, when a member is gone: it is out of reach, as one whose connection broke and one that is starting or leaving.
 */
function failureOf(error: ServiceError, { address, subject, limits }: CallAbout): CacheError {
  if (limits.signal.aborted) return abortError(limits.signal);
  if (isUnreachable(error)) {
    return new Unreachable(`${subject}: member ${address.grpcAddress} is out of reach: ${error.details}`, { cause: error });
  }
  const code = errorCodeOfGrpc(error.code);
  const message = error.details.includes(subject) ? error.details : `${subject}: ${error.details}`;
  return new CacheError(code, message, { cause: error });
}
