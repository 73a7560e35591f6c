import { bearerOfBrowser } from "../../security/browser-token.js";
import { WRONG_TOKEN } from "../../security/tokens.js";
import type { Exchange } from "./exchange.js";
import { isProbe } from "./health.js";
import type { Pages } from "./page.js";
import type { Refusal } from "./refusal.js";

const NOT_ADMITTED: Refusal = {
  status: 401,
  code: "AccessDenied",
  message: `no trusted client certificate, or ${WRONG_TOKEN}`,
  headers: ["WWW-Authenticate", "Bearer"],
};

/** Browsers ask their user for a password then, and show it from there on. */
const ASKED_FOR_PASSWORD: Refusal = {
  ...NOT_ADMITTED,
  message: `${NOT_ADMITTED.message}; browsers: a token as the password, with any user name`,
  headers: ["WWW-Authenticate", "Bearer", "WWW-Authenticate", 'Basic realm="frontcache"'],
};

/**
 * Why who shows no token or certificate gets no answer; undefined: it is a probe, or a page that a browser asks for with a
 * token as its password. A browser shows a password unasked to whatever else is under the same address, a script in an object
 * included: objects are not to be had by it.
 */
export function refusalAtDoor({ request, visitor }: Pick<Exchange, "request" | "visitor">, pages: Pages): Refusal | undefined {
  const path = (request.url ?? "").split("?", 1)[0]!;
  if (isProbe(path)) return undefined;
  if (!pages.has(path) || !visitor.tokenOpens) return NOT_ADMITTED;
  return visitor.admits(bearerOfBrowser(request.headers.authorization)) ? undefined : ASKED_FOR_PASSWORD;
}
