import type { ErrorResponse } from "../s3/error-response.js";

/** The reasons of GCS's errors by their status. */
const REASONS: Readonly<Record<number, string>> = {
  400: "invalid",
  401: "required",
  403: "forbidden",
  404: "notFound",
  405: "methodNotAllowed",
  412: "conditionNotMet",
  416: "requestedRangeNotSatisfiable",
  429: "rateLimitExceeded",
  501: "notImplemented",
  503: "backendError",
};

/** Characters of a message: the longest name fits in. */
const MAX_MESSAGE = 3_900;

/** An error as GCS's JSON API answers it. */
export function jsonError({ status, message: text }: Pick<ErrorResponse, "status" | "message">): string {
  const message = text.slice(0, MAX_MESSAGE).toWellFormed();
  const reason = REASONS[status] ?? "backendError";
  return JSON.stringify({ error: { code: status, message, errors: [{ message, domain: "global", reason }] } });
}
