import { createServer, type IncomingMessage, type Server, type ServerOptions, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { Socket } from "node:net";
import type { HostPort } from "../../config/addresses.js";
import type { ListenAddress } from "../../config/listen-address.js";
import type { Cache } from "../../routing/cache.js";
import type { Clock } from "../../runtime/clock.js";
import type { Log } from "../../runtime/log.js";
import { answerHandshake } from "../../security/answer-handshake.js";
import { ConnectionAuthentication } from "../../security/connection-authentication.js";
import { FailureCount } from "../../security/failure-count.js";
import { peerOf } from "../../security/member-authentication.js";
import type { Security, TlsSecurity } from "../../security/member-security.js";
import { ANONYMOUS } from "../../security/principal.js";
import type { Clients } from "../limits/clients.js";
import { ListeningPort } from "../listening-port.js";
import { nextRequestId } from "../request-id.js";
import { DirectSocket, type SocketCalls } from "../sending/direct-socket.js";
import { directSocket, encryptedSocket, plainSocket, type StrategyFor } from "../sending/send-strategy.js";
import { Connection } from "./connection.js";
import { fileResponses } from "./file-response.js";
import type { HttpContext, HttpListenerName, Reply, Request, Upload } from "./http-context.js";
import type { Pages } from "./pages.js";
import { PlainLane } from "./plain-lane.js";
import { rejectMalformed } from "./rejections.js";
import type { Serving, Site } from "./site.js";

/** Limits of a connection. Times are milliseconds, sizes bytes. */
const limits = {
  headTimeoutMs: 10_000,
  /** Timeout of a request, including its body, which is read and discarded. */
  requestTimeoutMs: 30_000,
  /** Longer than the idle timeout of load balancers (60 s), so that we do not close a connection that is about to be used. */
  keepAliveMs: 75_000,
  /** Timeout of a connection without progress during a response. A fill may retry for more than a minute. */
  stalledMs: 120_000,
};

export interface HttpListenerOptions<Served = Cache> {
  readonly listen: ListenAddress;
  /** As in ListeningPortOptions. */
  readonly socketMode?: number | undefined;
  /** The listener's name in metrics and log lines. */
  readonly name: HttpListenerName;
  readonly site: Site<Served>;
  /** Maximum time for running responses to finish when the listener closes, milliseconds. */
  readonly drainMs: number;
  /** Returns reasons why the member is not ready, one line each, other than start and shutdown. */
  notReadyReasons(): readonly string[];
  /** Whether requests that change something are taken. Absent: they are refused. */
  readonly writes?: boolean | undefined;
  /** Further pages, served from the start. */
  readonly pages: Pages;
  readonly security: Security;
  /** System calls for sending past sockets' streams, on connections without TLS. Undefined: all bytes go through the streams. */
  readonly socketCalls: SocketCalls | undefined;
  readonly clients: Clients;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * A port of a member that speaks HTTP/1.1: the HTTP listener, the S3 endpoint at the root, or an interface of another system. It is
 * opened first and answers 503 until it has something to serve.
 */
export class HttpListener<Served = Cache> {
  readonly #options: HttpListenerOptions<Served>;

  readonly #server: Server;
  /** Counts requests without a valid token or certificate. */
  readonly authenticationFailures: FailureCount;
  readonly #port: ListeningPort;
  /** Connections whose TLS handshake, if any, is done. */
  readonly #connections = new Map<Socket, Connection>();
  readonly #socketCalls: SocketCalls | undefined;
  readonly #strategyFor: StrategyFor;
  readonly #state: Serving<Served>;
  #served: Served | undefined;
  #shuttingDown = false;
  #closed: Promise<void> | undefined;

  private constructor(options: HttpListenerOptions<Served>) {
    this.#options = options;
    this.#state = this.#stateOf(options);
    const { tls } = options.security;
    this.#socketCalls = tls === undefined ? options.socketCalls : undefined;
    this.#strategyFor = tls !== undefined ? encryptedSocket : this.#socketCalls === undefined ? plainSocket : directSocket;
    this.authenticationFailures = new FailureCount(options.clock, options.log, "authentication-failed", "authentication failed");
    this.#server = createListener(tls, options.name, {
      maxHeaderSize: options.site.maxHeadBytes,
      headersTimeout: limits.headTimeoutMs,
      // Whoever takes a body has timeouts of its own.
      requestTimeout: options.writes === true ? 0 : limits.requestTimeoutMs,
      keepAliveTimeout: limits.keepAliveMs,
      connectionsCheckingInterval: limits.headTimeoutMs / 2,
      noDelay: true,
      // Checked with the rest of the request, because Node's own responses have another form than ours.
      requireHostHeader: false,
      ...(this.#socketCalls && { ServerResponse: fileResponses(this.#socketCalls) }),
    });
    this.#server.timeout = limits.stalledMs;
    // Every connection begins in the plain lane, which may pass it on to Node's listener.
    const accepted = tls === undefined ? "connection" : "secureConnection";
    const [serveHttp] = this.#server.listeners(accepted);
    this.#server.removeAllListeners(accepted);
    this.#port = new ListeningPort(this.#server, options);
    this.#server.on(accepted, (socket: Socket) => this.#accept(socket, () => serveHttp!.call(this.#server, socket)));
    this.#server.on("request", this.#take);
    // Only writes have bodies. In all other cases a client that sends Expect: 100-continue gets the response immediately.
    this.#server.on("checkContinue", this.#take);
    this.#server.on("checkExpectation", this.#take);
    this.#server.on("clientError", (error: NodeJS.ErrnoException, socket: Socket) =>
      rejectMalformed(error, socket, this.#connections.get(socket)?.running ?? false),
    );
  }

  /** Rejects with the system's error if the address cannot be listened on. */
  static async open<Served = Cache>(options: HttpListenerOptions<Served>): Promise<HttpListener<Served>> {
    const listener = new HttpListener(options);
    await listener.#port.open();
    return listener;
  }

  /** The TCP address that it listens on, with the actual port if 0 was configured. Throws if it has only a Unix socket. */
  get address(): HostPort {
    return this.#port.address;
  }

  /** Number of open connections, including idle ones. */
  get openConnections(): number {
    return this.#connections.size;
  }

  /** Number of requests being answered. */
  get runningAnswers(): number {
    let running = 0;
    for (const connection of this.#connections.values()) if (connection.running) running++;
    return running;
  }

  /** Starts serving. */
  serve(served: Served): void {
    this.#served = served;
  }

  /**
   * Reports not-ready, so that no new clients are routed here, and keeps answering. Each connection ends with its next response: a
   * client that sends a write on an idle connection while it is closed cannot know whether the write was done.
   */
  announceShutdown(): void {
    this.#shuttingDown = true;
    for (const connection of this.#connections.values()) connection.endAfterAnswer();
  }

  /**
   * Stops accepting connections, closes idle ones, and lets running responses finish for `drainMs` as the last of their
   * connections. Resolves when no connection is open. Further calls have no effect.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.announceShutdown();
    const closed = this.#port.close();
    const cancel = this.#options.clock.after(this.#options.drainMs, () => this.#port.cutOff());
    // Requests that have arrived are read first: a connection that they have arrived on is not idle.
    await new Promise((resolve) => setImmediate(resolve));
    for (const connection of this.#connections.values()) connection.endWhenIdle();
    await closed;
    cancel();
  }

  #accept(socket: Socket, handOver: () => void): void {
    if (socket.destroyed) return;
    this.#port.nameSecured(socket);
    const { security, clients, name, site } = this.#options;
    const { refusals } = security.members;
    const authentication = new ConnectionAuthentication(security, peerOf(socket), this.#options.clock);
    const connection = new Connection(socket, authentication, clients.of(socket.remoteAddress));
    this.#connections.set(socket, connection);
    if (this.#shuttingDown) connection.endAfterAnswer();
    socket.once("close", () => this.#connections.delete(socket));
    new PlainLane({
      socket,
      direct: this.#socketCalls && new DirectSocket(socket, this.#socketCalls),
      connection,
      clock: this.#options.clock,
      parse: (bytes) => site.parsePlain(bytes),
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
          onFailed: ({ message }) => refusals.failed(message, { listener: name, client: connection.client.address }),
        });
      },
      handOver,
    });
  }

  readonly #take = (request: IncomingMessage, response: ServerResponse): void => {
    const connection = this.#connections.get(request.socket);
    // Other expectations are ignored, as S3 ignores them.
    const isWaiting = /^100-continue$/i.test(request.headers.expect ?? "");
    const proceed = isWaiting ? () => response.writeContinue() : undefined;
    const signatures = () => connection?.authentication.chunkSignatures(request);
    const upload =
      this.#options.writes === true
        ? { body: request, proceed, signatures, sessions: this.#options.security.sessions }
        : undefined;
    connection?.answer(response, () => this.#answer(request, response, connection, upload));
  };

  #answer(
    request: Request,
    response: Reply,
    { signal, whenClosed, authentication, client }: Connection,
    upload: Upload | undefined = undefined,
  ): void {
    const { clock, log, security, name, site } = this.#options;
    // Every request pays for this object: a spread would cost several times as much.
    const context: HttpContext = {
      request,
      requestId: nextRequestId(),
      response,
      authentication,
      authenticationFailures: this.authenticationFailures,
      listener: name,
      refusals: security.members.refusals,
      principal: ANONYMOUS,
      upload,
      authorization: undefined,
      client,
      strategyFor: this.#strategyFor,
      signal,
      whenClosed,
      clock,
      log,
    };
    site.answer(context, this.#serving);
  }

  readonly #serving = (): Serving<Served> => this.#state;

  #stateOf({ pages, security }: HttpListenerOptions<Served>): Serving<Served> {
    const listener = this;
    return {
      get served() {
        return listener.#served;
      },
      get notReadyReasons() {
        return listener.notReadyReasons();
      },
      pages,
      authorization: security.authorization,
    };
  }

  /** Returns the reasons why this member is not ready, one line each; empty: it is ready. */
  notReadyReasons(): readonly string[] {
    const own = this.#shuttingDown
      ? ["this member is shutting down"]
      : this.#served === undefined
        ? ["this member is starting"]
        : [];
    return [...own, ...this.#options.notReadyReasons()];
  }
}

/**
 * Creates Node's HTTP server, with TLS if configured. Connections without a trusted certificate are accepted, to answer with the
 * reason and for the probes of Kubernetes, which have no certificate.
 */
function createListener(tls: TlsSecurity | undefined, name: HttpListenerName, options: ServerOptions): Server {
  if (tls === undefined) return createServer(options);
  const trust = { requestCert: tls.mutual, rejectUnauthorized: false };
  const server = createTlsServer({ ...options, ...tls.current, ...trust, handshakeTimeout: limits.headTimeoutMs });
  tls.handshakes.watch(server, name);
  tls.onChange((certificates) => server.setSecureContext(certificates));
  return server;
}
