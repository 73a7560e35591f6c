import type { HttpContext } from "./http-context.js";

/** A body that is refused is still received if it is not longer. Otherwise the connection is closed. */
const MAX_DISCARDED_BYTES = 1 << 20;

/**
 * Call before the response to a request whose body may not have been read whole. Further requests of the connection would have to wait
 * for the rest of a long body, so the connection is closed after the response.
 */
export function closeBehindUnreadBody({ upload, request, response }: Pick<HttpContext, "upload" | "request" | "response">): void {
  const { "content-length": length, "transfer-encoding": encoding } = request.headers;
  const isShort = upload?.proceed === undefined && Number(length ?? Number.POSITIVE_INFINITY) <= MAX_DISCARDED_BYTES;
  const hasBody = encoding !== undefined || length !== undefined;
  if (hasBody && upload?.body.complete === false && !isShort) response.setHeader("Connection", "close");
}
