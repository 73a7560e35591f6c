import { abortError, CacheError, errorCodeOfGrpc } from "@frontcache/proto";
import { type CallOptions, type ClientReadableStream, type ClientUnaryCall, type ServiceError, status } from "@grpc/grpc-js";
import type { AnswerSource, CallLimits, MemberAddress } from "../ports.js";
import { Unreachable } from "../ports.js";
import type { SilenceWatch, WaitingCall } from "../silence-watch.js";
import { conflictIn, isOriginTried, isUnreachable, s3CodeIn } from "./call-metadata.js";
import type { ServiceCalls } from "./grpc-channels.js";

/** One gRPC call to one member. */
export interface GrpcCall {
  readonly client: ServiceCalls;
  readonly address: MemberAddress;
  /** The subject at the start of its error messages, for example an object's URL. */
  readonly subject: string;
  readonly limits: CallLimits;
  /** Detects that the member does not respond. Undefined: the call may be silent for any time. */
  readonly silence: SilenceWatch | undefined;
}

/** A stream that waits for its member, except while its receiver pauses it. */
export class StreamWait implements WaitingCall, AnswerSource {
  readonly #stream: Pick<ClientReadableStream<unknown>, "cancel" | "pause" | "resume">;
  readonly #silence: SilenceWatch | undefined;
  /** Called when the member does not respond. */
  isSilent = false;
  previous: WaitingCall | undefined;
  next: WaitingCall | undefined;
  #isOver = false;

  constructor(stream: Pick<ClientReadableStream<unknown>, "cancel" | "pause" | "resume">, silence: SilenceWatch | undefined) {
    this.#stream = stream;
    this.#silence = silence;
    silence?.add(this);
  }

  heard(): void {
    this.#silence?.heard();
  }

  pause(): void {
    this.#silence?.remove(this);
    this.#stream.pause();
  }

  resume(): void {
    if (!this.#isOver) this.#silence?.add(this);
    this.#stream.resume();
  }

  onSilent(): void {
    this.isSilent = true;
    this.#stream.cancel();
  }

  end(): void {
    this.#isOver = true;
    this.#silence?.remove(this);
  }
}

/**
 * Difference between the member's deadline and ours, milliseconds. Ours cancels the call; the member's deadline is needed
 * only if the cancellation never arrives.
 */
const DEADLINE_GRACE_MS = 1_000;

/** Returns a call's options: the deadline, if any. */
export function callOptions(limits: CallLimits): CallOptions {
  const remainingMs = limits.remainingMs();
  return Number.isFinite(remainingMs) ? { deadline: Date.now() + remainingMs + DEADLINE_GRACE_MS } : {};
}

/** Passes on a stream's messages until it ends. If `onMessage` throws, cancels the stream and rejects with its error. */
export function receiveAll<Message>(
  stream: Pick<ClientReadableStream<Message>, "on" | "cancel" | "pause" | "resume">,
  onMessage: (message: Message) => void,
  call: GrpcCall,
  wait = new StreamWait(stream, call.silence),
): Promise<void> {
  return new Promise((resolve, reject) => {
    let refusal: { readonly reason: unknown } | undefined;
    let settled = false;
    const forget = call.limits.onEnd(() => stream.cancel());
    const settle = (then: () => void): void => {
      if (settled) return;
      settled = true;
      wait.end();
      forget();
      then();
    };
    stream.on("data", (message: Message) => {
      wait.heard();
      if (settled || refusal !== undefined) return;
      try {
        onMessage(message);
      } catch (reason) {
        refusal = { reason };
        stream.cancel();
      }
    });
    stream.on("error", (error: ServiceError) =>
      settle(() => reject(refusal === undefined ? failureOf(error, call, wait.isSilent) : refusal.reason)),
    );
    stream.on("end", () => settle(() => (refusal === undefined ? resolve() : reject(refusal.reason))));
    if (call.limits.ended !== undefined) stream.cancel();
  });
}

/** Resolves with the response of a call that has one. */
export function receiveOne<Answer>(
  start: (callback: (error: ServiceError | null, answer: Answer) => void) => Pick<ClientUnaryCall, "cancel">,
  call: GrpcCall,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    let isSilent = false;
    const wait = {
      onSilent(): void {
        isSilent = true;
        running.cancel();
      },
    };
    const forget = call.limits.onEnd(() => running.cancel());
    const running = start((error, answer) => {
      forget();
      call.silence?.remove(wait);
      if (error === null) {
        call.silence?.heard();
        resolve(answer);
      } else reject(failureOf(error, call, isSilent));
    });
    call.silence?.add(wait);
    if (call.limits.ended !== undefined) running.cancel();
  });
}

/**
 * Converts the error of a failed call. The member's message, which names the object, is kept. A member is unreachable if it is
 * silent, if its connection was lost, and while it is starting or shutting down.
 */
function failureOf(error: ServiceError, { address, subject, limits, silence }: GrpcCall, isSilent: boolean): CacheError {
  if (limits.ended !== undefined) return abortError(limits.signal);
  if (isSilent) return frozenMember(subject, address, silence, error);
  if (isUnreachable(error)) {
    return new Unreachable(`${subject}: member ${address.grpcAddress} is unreachable: ${error.details}`, { cause: error });
  }
  const code = errorCodeOfGrpc(error.code);
  const message = error.details.includes(subject) ? error.details : `${subject}: ${error.details}`;
  const conflict = conflictIn(error, message, error);
  if (conflict !== undefined) return conflict;
  return new CacheError(code, message, { cause: error, isOriginTried: isOriginTried(error), s3Code: s3CodeIn(error) });
}

/** Returns whether a call failed because the member does not know it. */
export function isUnimplemented(error: unknown): boolean {
  const cause = error instanceof CacheError ? error.cause : undefined;
  return cause instanceof Error && "code" in cause && cause.code === status.UNIMPLEMENTED;
}

/** Returns the error of a call to a member that does not respond. */
export function frozenMember(
  subject: string,
  { grpcAddress }: MemberAddress,
  silence: SilenceWatch | undefined,
  cause?: unknown,
): Unreachable {
  return new Unreachable(`${subject}: member ${grpcAddress} is unreachable: ${silence?.cause ?? "it does not respond"}`, {
    cause,
    isGone: true,
  });
}
