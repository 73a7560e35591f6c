import { createServer, type IncomingMessage, type Server, type ServerOptions, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { Socket } from "node:net";
import type { HostPort } from "../../config/addresses.js";
import type { Cache } from "../../routing/cache.js";
import type { Clock } from "../../runtime/clock.js";
import type { Log } from "../../runtime/log.js";
import { answerHandshake } from "../../security/answer-handshake.js";
import { ConnectionAuthentication } from "../../security/connection-authentication.js";
import { FailureCount } from "../../security/failure-count.js";
import { peerOf } from "../../security/member-authentication.js";
import type { Security, TlsSecurity } from "../../security/member-security.js";
import type { Clients } from "../limits/clients.js";
import { ListeningPort } from "../listening-port.js";
import { nextRequestId } from "../request-id.js";
import { answerRequest, type Serving } from "./answer-request.js";
import { Connection } from "./connection.js";
import type { Reply, Request } from "./http-context.js";
import type { Pages } from "./pages.js";
import { PlainLane } from "./plain-lane.js";
import { rejectMalformed } from "./rejections.js";

/** Limits of a connection. Times are milliseconds, sizes bytes. */
const limits = {
  headBytes: 16 << 10,
  headTimeoutMs: 10_000,
  /** With the body, which is read and thrown away. */
  requestTimeoutMs: 30_000,
  /** Longer than load balancers keep idle connections (60 s), so that this side does not close one that is about to be used. */
  keepAliveMs: 75_000,
  /** For a connection on which nothing moves while it is answered. A fill may try for more than a minute. */
  stalledMs: 120_000,
};

export interface HttpListenerOptions {
  readonly listen: HostPort;
  /** The time that running answers get to finish when the listener is closed, milliseconds. */
  readonly drainMs: number;
  /** Reasons why the member is not ready, one line each, besides that the listener starts or shuts down. */
  notReadyReasons(): readonly string[];
  /** What is served beside objects and probes, from the start on. */
  readonly pages: Pages;
  readonly security: Security;
  readonly clients: Clients;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * A member's HTTP port: objects as S3 serves them, and Kubernetes's probes. It is taken first and answers 503 until it is
 * given a cache.
 */
export class HttpListener {
  readonly #options: HttpListenerOptions;

  readonly #server: Server;
  /** Requests without a valid token or certificate. */
  readonly authenticationFailures: FailureCount;
  readonly #port: ListeningPort;
  /** Those whose handshake, if any, is done. */
  readonly #connections = new Map<Socket, Connection>();
  #cache: Cache | undefined;
  #shuttingDown = false;
  #closed: Promise<void> | undefined;

  private constructor(options: HttpListenerOptions) {
    this.#options = options;
    const { tls } = options.security;
    this.authenticationFailures = new FailureCount(options.clock, options.log, "authentication-failed", "authentication failed");
    this.#server = createListener(tls, {
      maxHeaderSize: limits.headBytes,
      headersTimeout: limits.headTimeoutMs,
      requestTimeout: limits.requestTimeoutMs,
      keepAliveTimeout: limits.keepAliveMs,
      connectionsCheckingInterval: limits.headTimeoutMs / 2,
      noDelay: true,
      // Checked with the rest of the request: Node's own answers are not of the form that all others have.
      requireHostHeader: false,
    });
    this.#server.timeout = limits.stalledMs;
    // Every connection begins in the plain lane, and goes on to Node's own listener from there.
    const accepted = tls === undefined ? "connection" : "secureConnection";
    const [serveHttp] = this.#server.listeners(accepted);
    this.#server.removeAllListeners(accepted);
    this.#port = new ListeningPort(this.#server, options);
    this.#server.on(accepted, (socket: Socket) => this.#accept(socket, () => serveHttp!.call(this.#server, socket)));
    this.#server.on("request", this.#take);
    // Bodies are ignored: a client that asks before it sends one is answered at once.
    this.#server.on("checkContinue", this.#take);
    this.#server.on("checkExpectation", this.#take);
    this.#server.on("clientError", (error: NodeJS.ErrnoException, socket: Socket) =>
      rejectMalformed(error, socket, this.#connections.get(socket)?.running ?? false),
    );
  }

  /** Rejects with the system's error where the address can't be listened on. */
  static async open(options: HttpListenerOptions): Promise<HttpListener> {
    const listener = new HttpListener(options);
    await listener.#port.open();
    return listener;
  }

  /** What it listens on, with the port that was picked where 0 was asked for. */
  get address(): HostPort {
    return this.#port.address;
  }

  /** Connections open now, idle ones included. */
  get openConnections(): number {
    return this.#connections.size;
  }

  /** Requests being answered now. */
  get runningAnswers(): number {
    let running = 0;
    for (const connection of this.#connections.values()) if (connection.running) running++;
    return running;
  }

  /** Answers for objects from now on. */
  serve(cache: Cache): void {
    this.#cache = cache;
  }

  /** Not ready from now on, so that nobody sends new clients here; everything is still answered. */
  announceShutdown(): void {
    this.#shuttingDown = true;
  }

  /**
   * No new connections; idle ones end, each running answer is its connection's last. What has not finished after `drainMs` is
   * cut off. Resolves when no connection is left. Harmless when repeated.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.announceShutdown();
    const closed = this.#port.close();
    for (const connection of this.#connections.values()) connection.endWhenIdle();
    const cancel = this.#options.clock.after(this.#options.drainMs, () => this.#port.cutOff());
    await closed;
    cancel();
  }

  #accept(socket: Socket, handOver: () => void): void {
    if (socket.destroyed) return;
    const { security, clients } = this.#options;
    const { refusals } = security.members;
    const authentication = new ConnectionAuthentication(security, peerOf(socket));
    const connection = new Connection(socket, authentication, clients.of(socket.remoteAddress));
    this.#connections.set(socket, connection);
    socket.once("close", () => this.#connections.delete(socket));
    new PlainLane({
      socket,
      connection,
      clock: this.#options.clock,
      firstBytesTimeoutMs: limits.headTimeoutMs,
      idleTimeoutMs: limits.stalledMs,
      answer: (request, reply) => this.#answer(request, reply, connection),
      prove: (first, then) => {
        answerHandshake({
          socket,
          first,
          member: security.members.listening,
          onEnd: (proof, rest) => {
            authentication.proved(proof);
            then(rest);
          },
          onFailed: ({ message }) => refusals.failed(message, { listener: "http", client: connection.client.address }),
        });
      },
      handOver,
    });
  }

  readonly #take = (request: IncomingMessage, response: ServerResponse): void => {
    const connection = this.#connections.get(request.socket);
    connection?.answer(response, () => this.#answer(request, response, connection));
  };

  #answer(request: Request, response: Reply, { signal, whenClosed, authentication, client }: Connection): void {
    const { clock, log, security } = this.#options;
    const by = { principal: authentication.principal, client, encrypted: security.tls !== undefined };
    const { authenticationFailures } = this;
    const { refusals } = security.members;
    const requestId = nextRequestId();
    answerRequest(
      { request, requestId, response, authentication, authenticationFailures, refusals, ...by, signal, whenClosed, clock, log },
      this.#serving,
    );
  }

  readonly #serving = (): Serving => ({
    cache: this.#cache,
    notReadyReasons: this.notReadyReasons(),
    pages: this.#options.pages,
  });

  /** Why this member is not ready, one line each; empty: it is ready. */
  notReadyReasons(): readonly string[] {
    const own = this.#shuttingDown
      ? ["this member is shutting down"]
      : this.#cache === undefined
        ? ["this member is starting"]
        : [];
    return [...own, ...this.#options.notReadyReasons()];
  }
}

/**
 * Node's HTTP server, over TLS if configured. Connections without a trusted certificate are accepted, for an answer that says so
 * and for the probes of Kubernetes, which has no certificate.
 */
function createListener(tls: TlsSecurity | undefined, options: ServerOptions): Server {
  if (tls === undefined) return createServer(options);
  const trust = { requestCert: tls.mutual, rejectUnauthorized: false };
  const server = createTlsServer({ ...options, ...tls.current, ...trust, handshakeTimeout: limits.headTimeoutMs });
  tls.handshakes.watch(server, "http");
  tls.onChange((certificates) => server.setSecureContext(certificates));
  return server;
}
