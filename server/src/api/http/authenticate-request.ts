import { CacheError } from "@frontcache/proto";
import type { Clock } from "../../runtime/clock.js";
import { Query } from "../../runtime/query.js";
import type { PresentedRequest } from "../../security/authenticator.js";
import type { Authorization } from "../../security/grants/authorization.js";
import { ANONYMOUS, type Principal, requesting } from "../../security/principal.js";
import { checkExpiry, mayBePresigned, presignedIn } from "../../security/signatures/presigned.js";
import { bearerFromBasic } from "../../security/tokens/presented-token.js";
import { type ErrorResponse, errorResponseOf } from "../s3/error-response.js";
import { type HttpContext, type Request, sourceOf } from "./http-context.js";
import { PASSWORD_REQUESTED, rejectUnauthenticated } from "./rejections.js";
import type { Serving } from "./site.js";

/**
 * Authenticates a request. Calls back when the context has its principal, or with the answer to a request that is not authenticated;
 * at once if possible.
 */
export function authenticateRequest(
  context: HttpContext,
  { pages, authorization }: Pick<Serving, "pages" | "authorization">,
  proceed: () => void,
  refuse: (error: ErrorResponse) => void,
): void {
  const { request, authentication } = context;
  // Nearly all requests end here. The closures of all others cost as much as the rest of this.
  const known = mayBePresigned(request.url ?? "") ? undefined : authentication.known(request);
  if (known === undefined) authenticate(context, { pages, authorization }, proceed, refuse);
  else {
    identify(context, authorization, known);
    proceed();
  }
}

function identify(context: HttpContext, authorization: Authorization, principal: Principal): void {
  const isRecorded = authorization.audit !== undefined && !principal.isMember;
  context.authorization = authorization;
  context.principal = isRecorded ? requesting(principal, sourceOf(context)) : principal;
}

/** The same for a request whose credentials must be verified. */
function authenticate(
  context: HttpContext,
  { pages, authorization }: Pick<Serving, "pages" | "authorization">,
  proceed: () => void,
  refuse: (error: ErrorResponse) => void,
): void {
  const identified = (principal: Principal): void => {
    identify(context, authorization, principal);
    proceed();
  };
  const { request, authentication, authenticationFailures, client, clock, listener, signal } = context;
  const fail = (error: unknown, hasPassword: boolean): void => {
    const rejected = rejectUnauthenticated(context, CacheError.from(error), pages);
    if (rejected === undefined) identified(ANONYMOUS);
    else if (rejected === "password" && !hasPassword)
      by({ headers: { authorization: bearerFromBasic(request.headers.authorization) } }, true);
    else {
      const answer = rejected === "password" ? PASSWORD_REQUESTED : rejected;
      authenticationFailures.failed(answer.message, { listener, client: client.address });
      recordUnauthenticated(context, authorization, answer);
      refuse(answer);
    }
  };
  const by = (presented: PresentedRequest, hasPassword: boolean): void => {
    let found: Principal | Promise<Principal>;
    try {
      found = authentication.authenticate(presented);
    } catch (error) {
      fail(error, hasPassword);
      return;
    }
    if (!(found instanceof Promise)) identified(found);
    else {
      found.then(
        (principal) => signal.aborted || identified(principal),
        (error: unknown) => signal.aborted || fail(error, hasPassword),
      );
    }
  };
  try {
    checkPresigned(request, clock);
  } catch (error) {
    const answer = errorResponseOf(error);
    recordUnauthenticated(context, authorization, answer);
    refuse(answer);
    return;
  }
  by(request, false);
}

/** Queries are left out, since they may contain signatures and tokens. */
function recordUnauthenticated(context: HttpContext, { audit }: Authorization, { message: reason }: ErrorResponse): void {
  const { url = "", method: operation = "" } = context.request;
  const object = url.split("?", 1)[0]!;
  audit?.record({ outcome: "unauthenticated", operation, object, source: sourceOf(context), reason });
}

/** Throws S3's error if S3 would not accept the signature in the query of a request, whoever signed it. */
function checkPresigned({ url = "" }: Request, clock: Pick<Clock, "nowMs">): void {
  if (!mayBePresigned(url)) return;
  const presigned = presignedIn(new Query(url.slice(url.indexOf("?") + 1)));
  if (presigned !== undefined) checkExpiry(presigned, clock.nowMs());
}
