import {
  CACHED_ONLY_HEADER,
  FORWARDED_HEADER,
  ON_BEHALF_OF_HEADER,
  OPEN_ENDED_HEADER,
  ORIGIN_REQUESTS_HEADER,
  parseOriginRequests,
  REPEATED_HEADER,
  TIMEOUT_HEADER,
} from "@frontcache/proto";
import type { Request } from "../http/http-context.js";

/** What the headers say that only frontcache's own members and clients send. Whether the sender is a member is not checked here. */
export interface MemberHeaders {
  readonly isForwarded: boolean;
  readonly isCachedOnly: boolean;
  readonly isOpenEnded: boolean;
  readonly isRepeated: boolean;
  readonly originRequests: number | undefined;
  /** Escaped. */
  readonly onBehalfOf: unknown;
  /** Another form of the header is ignored. */
  readonly timeoutMs: number | undefined;
}

/** Returns what these headers of a request say. Requests that repeat another one say the same. */
export function memberHeadersOf(request: Request): MemberHeaders {
  const { repeated } = request;
  if (repeated === undefined) return parse(request.headers);
  repeated.memberHeaders ??= parse(request.headers);
  return repeated.memberHeaders;
}

function parse(headers: Request["headers"]): MemberHeaders {
  const timeout = headers[TIMEOUT_HEADER];
  return {
    isForwarded: headers[FORWARDED_HEADER] === "1",
    isCachedOnly: headers[CACHED_ONLY_HEADER] === "1",
    isOpenEnded: headers[OPEN_ENDED_HEADER] === "1",
    isRepeated: headers[REPEATED_HEADER] === "1",
    originRequests: parseOriginRequests(headers[ORIGIN_REQUESTS_HEADER]),
    onBehalfOf: headers[ON_BEHALF_OF_HEADER],
    timeoutMs: typeof timeout === "string" && /^\d{1,9}$/.test(timeout) ? Number(timeout) : undefined,
  };
}
