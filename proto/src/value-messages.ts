import { UploadCompletion, Value } from "./gen/cache.js";
import type { Completion, ValueDescription, ValueInfo } from "./values.js";

/** Trailer of a call that ends with a ValueConflict: its reason. */
export const CONFLICT_TRAILER = "frontcache-conflict";
/** Trailer of a conflict that has a completion: an encoded UploadCompletion. */
export const COMPLETION_TRAILER = "frontcache-completion-bin";

/** A value as gRPC's message. */
export function valueMessage({ expiresMs = 0, contentType = "", ...info }: ValueInfo): Value {
  return Value.fromPartial({ ...info, expiresMs, contentType });
}

/** The value that a message describes. */
export function valueOfMessage({ expiresMs, contentType, metadata, ...info }: Value): ValueInfo {
  return {
    ...info,
    metadata: { ...metadata },
    ...(expiresMs !== 0 && { expiresMs }),
    ...(contentType !== "" && { contentType }),
  };
}

/** The description of a new value as gRPC's message has it. */
export function descriptionMessage({ ttlSeconds, flags = 0, metadata = {}, contentType = "" }: ValueDescription) {
  return { ttlSeconds, flags, metadata: { ...metadata }, contentType };
}

/** An upload's completion in the bytes of COMPLETION_TRAILER. */
export function encodeCompletion(completion: Completion): Buffer {
  return Buffer.from(UploadCompletion.encode(UploadCompletion.fromPartial(completionMessage(completion))).finish());
}

/** Reverses `encodeCompletion`. */
export function decodeCompletion(bytes: Uint8Array): Completion {
  return UploadCompletion.decode(bytes);
}

/** An upload's completion as gRPC's message. */
export function completionMessage({ size, presentBytes, present, missing }: Completion): UploadCompletion {
  return { size, presentBytes, present: [...present], missing: [...missing] };
}
