import type { Socket } from "node:net";
import { createSecureContext, type SecureContext } from "node:tls";
import type { ConnectionSetup } from "./connection.js";
import { ConnectionPool } from "./connection-pool.js";
import { addressOf, type Dial, dialByTunnel, dialDirectly, proxyAuthorization } from "./dial.js";
import { type BodyPieces, Exchange, type ExchangeScope, type WireRequest } from "./exchange.js";
import type { HttpResponse } from "./http-response.js";
import type { SecureOptions } from "./sockets.js";
import { type HttpClock, Timeouts } from "./timeouts.js";

export interface HttpClientOptions {
  readonly clock: HttpClock;
  /** Maximum connections to one target; further requests wait in order. */
  readonly mostConnections: number;
  /** Until a target, or its proxy, accepts a connection, milliseconds. */
  readonly connectTimeoutMs: number;
  /** Of a tunnel and TLS after that, milliseconds. */
  readonly secureTimeoutMs: number;
  /** Of waiting for a free connection, milliseconds; undefined: none. */
  readonly waitTimeoutMs: number | undefined;
  /** Of a connection on which nothing moves, before the head and in the body, milliseconds. */
  readonly stallTimeoutMs: number;
  /** Of a connection without a request, milliseconds. */
  readonly idleMs: number;
  /** The longest head of a response, bytes. */
  readonly maxHeadBytes: number;
  /** The proxy for a target, by its protocol, host and port; undefined: a direct connection. */
  proxyOf(target: URL): URL | undefined;
  /** The certificate authorities to trust; undefined: Node's, those of NODE_EXTRA_CA_CERTS included. */
  readonly secureContext: SecureContext | undefined;
  /** As in ConnectionSetup. */
  readonly directSend?: ConnectionSetup["directSend"];
}

/** One request. */
export interface HttpRequest {
  readonly method: string;
  /** `http(s)://host[:port]`, without a path. */
  readonly target: string;
  /** Path and query, sent verbatim. */
  readonly path: string;
  /** Undefined values are left out. `host` and `content-length` are added if they are missing. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  /** Absent: none, or `bodyPieces`. */
  readonly body?: Uint8Array | undefined;
  /**
   * A body that is sent while it is made, with backpressure. The headers must say how long it is. If it throws, the connection is closed
   * before the end of the body, and `send` rejects with its error. Such a request is never repeated, and has no timeout: the caller's
   * signal ends it.
   */
  readonly bodyPieces?: BodyPieces | undefined;
  /** Whether it has no timeout before the head of its response, so that only the caller's signal ends it. Absent: it has one. */
  readonly waitsForHead?: boolean | undefined;
  /** Asked before the request is sent a second time, because its kept connection had been closed by the peer. Absent: it is not. */
  readonly mayRepeat?: (() => boolean) | undefined;
}

/** Targets whose pools are kept although they have no connections. */
const MAX_UNUSED_TARGETS = 100;
/** Sent twice, they do the same as once. */
const IDEMPOTENT: ReadonlySet<string> = new Set(["GET", "HEAD", "PUT", "DELETE", "OPTIONS"]);

/**
 * A client of HTTP/1.1 for any number of targets, each with kept connections of its own, directly or through a proxy.
 *
 * - `send` resolves with the response when its head has arrived, whatever its status. Redirects are not followed.
 * - The body lands in memory of the caller: `response.body.land(landing)`. The kernel writes a body of known length there without a
 *   copy in between, except for what arrives with the head. `bodyBytes` reads a short body whole.
 * - It rejects with InvalidResponse (what violates HTTP/1.1), ProxyError, `abortError` of the signal, or the system's errors with
 *   their codes: ETIMEDOUT also for its own timeouts, ECONNRESET also for a connection that ended early.
 * - Repeats nothing, except that an idempotent request is sent again, if it may be, when its kept connection was closed by the peer
 *   before a byte of the response.
 */
export class HttpClient {
  readonly #options: HttpClientOptions;
  readonly #targets = new Map<string, Target>();
  readonly #waits: Timeouts | undefined;
  readonly #stalls: Timeouts;

  constructor(options: HttpClientOptions) {
    const { clock, waitTimeoutMs, stallTimeoutMs } = options;
    this.#options = options;
    this.#waits = waitTimeoutMs === undefined ? undefined : new Timeouts(clock, waitTimeoutMs);
    this.#stalls = new Timeouts(clock, stallTimeoutMs);
  }

  /** Aborting the signal ends the body, too. */
  async send(request: HttpRequest, signal: AbortSignal): Promise<HttpResponse> {
    const target = this.#targetOf(request.target);
    return Exchange.run(target.wireRequest(request), target.scope, signal);
  }

  /** Closes all connections. Requests that run fail. */
  close(): void {
    const cause = Object.assign(new Error("the connections were closed"), { code: "ECONNABORTED" });
    for (const { scope } of this.#targets.values()) scope.pool.close(cause);
    this.#targets.clear();
    this.#waits?.close();
    this.#stalls.close();
  }

  #targetOf(name: string): Target {
    let target = this.#targets.get(name);
    if (target === undefined) {
      this.#forgetUnused();
      target = new Target(name, this.#options, { waits: this.#waits, stalls: this.#stalls });
      this.#targets.set(name, target);
    }
    return target;
  }

  #forgetUnused(): void {
    if (this.#targets.size < MAX_UNUSED_TARGETS) return;
    for (const [name, { scope }] of this.#targets) if (scope.pool.size === 0) this.#targets.delete(name);
  }
}

/** One target of a client: how it is connected to, and what precedes its requests' paths. */
class Target {
  readonly scope: ExchangeScope;
  readonly #host: string;
  /** Precedes the path: empty, or the target itself for a proxy that forwards requests. */
  readonly #prefix: string;
  /** Headers for a proxy that forwards requests. */
  readonly #proxyLines: string;
  /** The newest session of TLS. The next connection resumes it, which saves half of the CPU time of opening it. */
  #session: Buffer | undefined;

  constructor(name: string, options: HttpClientOptions, timeouts: Pick<ExchangeScope, "waits" | "stalls">) {
    const { clock, connectTimeoutMs, secureTimeoutMs, mostConnections, idleMs, maxHeadBytes, directSend } = options;
    const url = new URL(name);
    const proxy = options.proxyOf(url);
    const isForwarded = proxy !== undefined && url.protocol === "http:";
    this.#host = url.host;
    this.#prefix = isForwarded ? `http://${url.host}` : "";
    this.#proxyLines = isForwarded
      ? proxyAuthorization(proxy)
          .map((line) => `${line}\r\n`)
          .join("")
      : "";
    const dials = this.#dials(url, proxy, options.secureContext);
    const setUp = () => ({ dial: dials(), directSend });
    const pool = new ConnectionPool({ clock, connectTimeoutMs, secureTimeoutMs, mostConnections, idleMs, setUp });
    this.scope = { ...timeouts, pool, maxHeadBytes };
  }

  wireRequest({ method, path, headers, body, bodyPieces, waitsForHead = false, mayRepeat }: HttpRequest): WireRequest {
    let lines = `${method} ${this.#prefix}${path} HTTP/1.1\r\n`;
    if (!REQUEST_LINE.test(lines)) throw new TypeError("a request's method or path has characters that it cannot contain");
    if (headers.host === undefined) lines += `host: ${this.#host}\r\n`;
    for (const name in headers) {
      const value = headers[name];
      if (value === undefined) continue;
      if (!NAME.test(name) || !VALUE.test(value)) throw new TypeError(`the header ${JSON.stringify(name)} cannot be sent`);
      lines += `${name}: ${value}\r\n`;
    }
    if (body !== undefined && headers["content-length"] === undefined) lines += `content-length: ${body.length}\r\n`;
    const head = `${lines}${this.#proxyLines}\r\n`;
    const repeats = IDEMPOTENT.has(method) && bodyPieces === undefined ? mayRepeat : undefined;
    return { head, body, bodyPieces, waitsForHead, mayRepeat: repeats, isHead: method === "HEAD" };
  }

  /** Returns how each connection is opened. */
  #dials(url: URL, proxy: URL | undefined, secureContext: SecureContext | undefined): () => Dial {
    const address = addressOf(url);
    const onSocket = (socket: Socket): void => {
      socket.setKeepAlive(true, KEEP_ALIVE_MS);
      socket.on("session", (session: Buffer) => {
        this.#session = session;
      });
    };
    let context = secureContext;
    const trust = (): SecureOptions => {
      context ??= createSecureContext();
      return { secureContext: context, session: this.#session, ALPNProtocols: ["http/1.1"] };
    };
    if (url.protocol === "https:") {
      if (proxy === undefined) return () => dialDirectly(address, trust(), onSocket);
      const proxyTls = proxy.protocol === "https:" ? {} : undefined;
      return () => dialByTunnel({ proxy, proxyTls, target: address, tls: trust(), onSocket });
    }
    const proxyTls = proxy?.protocol === "https:" ? {} : undefined;
    return () => dialDirectly(proxy === undefined ? address : addressOf(proxy), proxyTls, onSocket);
  }
}

/** How soon the kernel looks whether the peer of a silent connection is still there. */
const KEEP_ALIVE_MS = 30_000;

const REQUEST_LINE = /^[A-Z]+ [\x21-\x7e]+ HTTP\/1\.1\r\n$/;
const NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
