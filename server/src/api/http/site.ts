import type { Cache } from "../../routing/cache.js";
import type { Authorization } from "../../security/grants/authorization.js";
import type { HttpContext } from "./http-context.js";
import type { Pages } from "./pages.js";
import type { PlainRequest } from "./plain-request.js";

/** The current state of a listener. */
export interface Serving<Served = Cache> {
  /** What the requests are about. Undefined while the member starts. */
  readonly served: Served | undefined;
  /** Empty: ready. */
  readonly notReadyReasons: readonly string[];
  readonly pages: Pages;
  /** Decides who may see the pages. */
  readonly authorization: Authorization;
}

/** What the listeners of a member serve: object stores, or an interface of another system. Everything else they have in common. */
export interface Site<Served = Cache> {
  /** Maximum bytes of a request's head. */
  readonly maxHeadBytes: number;
  /** Parses bytes that are exactly one simple GET or HEAD. Undefined for anything else, which Node's HTTP server then parses. */
  parsePlain(bytes: Buffer): PlainRequest | undefined;
  /** Answers one request of any kind. Never throws. */
  answer(context: HttpContext, serving: () => Serving<Served>): void;
}
