import { HttpClient } from "@frontcache/client/http";
import { systemClock } from "../../runtime/clock.js";
import type { Way } from "./way.js";

/** How an origin's store is reached. */
export interface OriginClientOptions {
  /** Upper bound of connections to one host; further requests wait for one. */
  readonly maxConnections: number;
  /** Timeout of waiting for a free connection; undefined: only the caller's signal ends the wait. */
  readonly waitTimeoutMs: number | undefined;
  /** Timeout of a connection on which nothing moves, before and in the body. */
  readonly idleTimeoutMs: number;
  readonly way: Way;
}

/**
 * Enough for a lost packet, which the kernel sends again after a second. An origin behind a network that drops packets is noticed by
 * this timeout.
 */
const CONNECT_TIMEOUT_MS = 3_000;

/** For TLS, and for a proxy that connects to the origin in its turn. */
const SECURE_TIMEOUT_MS = 10_000;

/** Shorter than the idle timeouts of load balancers and NAT gateways. A store may close a connection earlier. */
const KEPT_MS = 30_000;

/** The longest head of an answer. Objects with the longest headers that stores accept, and a proxy's own, have less. */
const MAX_HEAD_BYTES = 64 << 10;

/** The HTTP client of one origin: connections that are kept alive, to any of its hosts. */
export function originClient({ maxConnections, waitTimeoutMs, idleTimeoutMs, way }: OriginClientOptions): HttpClient {
  return new HttpClient({
    clock: systemClock,
    mostConnections: maxConnections,
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
    secureTimeoutMs: SECURE_TIMEOUT_MS,
    waitTimeoutMs,
    stallTimeoutMs: idleTimeoutMs,
    idleMs: KEPT_MS,
    maxHeadBytes: MAX_HEAD_BYTES,
    ...way,
  });
}
