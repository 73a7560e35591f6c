import { CacheError } from "@frontcache/proto";
import { ANONYMOUS, CACHE_ITSELF, clientPrincipal, type Principal } from "../security/principal.js";
import type { RecentCallers } from "../security/recent-callers.js";
import { type AnswerTo, mayAddRequest, type OriginQuestion, type OriginRequest, type OriginWrapper, wrap } from "./origin.js";

/**
 * Sends what the cache itself asks about an object (fills, revalidation) on behalf of the principal that the origin allowed last to
 * read it. If the origin denies that principal the object now, the request is sent once more with the members' credentials.
 */
export function asRecentCaller(callers: RecentCallers): OriginWrapper {
  const send = async <R extends OriginRequest | OriginQuestion, Answer>(
    request: R,
    by: (request: R) => Promise<Answer>,
  ): Promise<Answer> => {
    const { ref, principal } = request;
    const name = principal === CACHE_ITSELF ? callerOf(request, callers) : undefined;
    if (name === undefined) return by(request);
    try {
      return await by({ ...request, principal: named(name) });
    } catch (error) {
      if (!isDenial(error) || request.signal.aborted) throw error;
      callers.denied(ref.url, name);
      if (!mayAddRequest(request)) throw error;
      return by(request);
    }
  };
  return (next) =>
    wrap(next, {
      fetch: (request) => send(request, (sent) => next.fetch(sent)),
      ask: <Q extends OriginQuestion>(question: Q): Promise<AnswerTo<Q>> => send(question, (sent) => next.ask(sent)),
    });
}

/** For whom the cache itself sends a request. Undefined: for nobody with origin credentials of its own. */
function callerOf(request: OriginRequest | OriginQuestion, callers: RecentCallers): string | undefined {
  if ("onBehalfOf" in request && request.onBehalfOf !== undefined) return request.onBehalfOf;
  return "key" in request.ref ? callers.of(request.ref.url) : undefined;
}

/** Whether the origin denies access, or does not accept the credentials. */
export function isDenial(error: unknown): boolean {
  const { code, s3Code } = CacheError.from(error);
  return code === "PERMISSION_DENIED" || s3Code === "AccessDenied";
}

function named(name: string): Principal {
  return name === ANONYMOUS.name ? ANONYMOUS : clientPrincipal(name, "signature");
}
