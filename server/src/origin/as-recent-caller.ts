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
    const name = principal === CACHE_ITSELF && "key" in ref ? callers.of(ref.url) : undefined;
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

/** Whether the origin denies access, or does not accept the credentials. */
export function isDenial(error: unknown): boolean {
  const { code, s3Code } = CacheError.from(error);
  return code === "PERMISSION_DENIED" || s3Code === "AccessDenied";
}

function named(name: string): Principal {
  return name === ANONYMOUS.name ? ANONYMOUS : clientPrincipal(name, "signature");
}
