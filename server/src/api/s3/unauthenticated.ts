import { bearerFromBasic, WRONG_TOKEN } from "../../security/tokens.js";
import type { Exchange } from "./exchange.js";
import { isProbe } from "./health.js";
import type { Pages } from "./page.js";
import type { Refusal } from "./refusal.js";

const UNAUTHENTICATED: Refusal = {
  status: 401,
  code: "AccessDenied",
  errorCode: "UNAUTHENTICATED",
  message: `no trusted client certificate, or ${WRONG_TOKEN}`,
  headers: ["WWW-Authenticate", "Bearer"],
};

/** Browsers ask their user for a password then, and show it from there on. */
const PASSWORD_REQUESTED: Refusal = {
  ...UNAUTHENTICATED,
  message: `${UNAUTHENTICATED.message}; browsers: a token as the password, with any user name`,
  headers: ["WWW-Authenticate", "Bearer", "WWW-Authenticate", 'Basic realm="frontcache"'],
};

/**
 * Why who shows no token or certificate gets no answer; undefined: it is a probe, or a page that a browser asks for with a
 * token as its password. A browser shows a password unasked to whatever else is under the same address, a script in an object
 * included: objects are not to be had by it.
 */
export function refuseUnauthenticated(
  { request, authentication }: Pick<Exchange, "request" | "authentication">,
  pages: Pages,
): Refusal | undefined {
  const path = (request.url ?? "").split("?", 1)[0]!;
  if (isProbe(path)) return undefined;
  if (!pages.has(path) || !authentication.tokenSuffices) return UNAUTHENTICATED;
  return authentication.accepts(bearerFromBasic(request.headers.authorization)) ? undefined : PASSWORD_REQUESTED;
}
