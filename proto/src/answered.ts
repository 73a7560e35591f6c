import { Metadata, type ServiceError, status } from "@grpc/grpc-js";

/**
 * Trailer of every error that a member itself answers a read with. gRPC uses the same codes for what goes wrong on the way:
 * UNAVAILABLE with it is a member whose origin is out of reach, and no other member can do better; without it, it is a member
 * that is out of reach, starting or leaving, and another one may answer.
 */
const ANSWERED = "frontcache-answered";

/** The trailers of an error that a member answers with; a new object, for grpc-js adds to it. */
export function answeredTrailers(): Metadata {
  const trailers = new Metadata();
  trailers.set(ANSWERED, "1");
  return trailers;
}

/** Codes that grpc-js gives to calls whose connection breaks, depending on where in the call it does. */
const BROKEN: ReadonlySet<status> = new Set([status.UNAVAILABLE, status.CANCELLED, status.UNKNOWN, status.INTERNAL]);

/** Whether a failed call, which its caller did not cancel, failed because the member is out of reach, starting or leaving. */
export function isOutOfReach({ code, metadata }: Pick<ServiceError, "code" | "metadata">): boolean {
  return BROKEN.has(code) && metadata?.get(ANSWERED).length !== 1;
}
