import { setMaxListeners } from "node:events";
import { createServer, type Server as NetServer, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { routerService, valueService } from "@frontcache/client/grpc";
import { ListenerHandshake } from "@frontcache/client/members";
import { CacheServiceDefinition, listenerOptions, RouterServiceDefinition, ValueServiceDefinition } from "@frontcache/proto";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { HealthImplementation, type ServingStatus } from "grpc-health-check";
import type { HostPort } from "../../config/addresses.js";
import type { ListenAddress } from "../../config/listen-address.js";
import type { ObjectService } from "../../objects/object-answers.js";
import type { Cache, MemberDirectory } from "../../routing/cache.js";
import type { Clock } from "../../runtime/clock.js";
import type { Log } from "../../runtime/log.js";
import { answerHandshake } from "../../security/answer-handshake.js";
import { ConnectionAuthentication } from "../../security/connection-authentication.js";
import { FailureCount } from "../../security/failure-count.js";
import { peerOf } from "../../security/member-authentication.js";
import type { Security, TlsSecurity } from "../../security/member-security.js";
import type { ValueService } from "../../values/value-service.js";
import type { Values } from "../../values/values.js";
import { NotServing } from "../call-status.js";
import type { Clients } from "../limits/clients.js";
import { ListeningPort } from "../listening-port.js";
import { cacheServiceHandlers, routerServiceHandlers, servedMethods } from "./cache-service.js";
import { CallAuthentication } from "./call-authentication.js";
import { addReflection } from "./reflection.js";
import { RunningCalls } from "./running-calls.js";
import { valueServiceHandlers } from "./value-service-handlers.js";

/** The names in health checks: the whole process, and its services. */
const HEALTH_NAMES = ["", CacheServiceDefinition.fullName, RouterServiceDefinition.fullName, ValueServiceDefinition.fullName];

/** Time to send the trailers of the last call. Streams that are open after it are watches of the health service. */
const FLUSH_MS = 100;

export interface GrpcListenerOptions {
  readonly listen: ListenAddress;
  /** As in ListeningPortOptions. */
  readonly socketMode?: number | undefined;
  /** Path of the Unix socket of the HTTP listener, for clients that came through this one's. Absent: it has none. */
  readonly httpSocket?: string | undefined;
  /** Maximum time for running calls to finish when the listener closes, milliseconds. */
  readonly drainMs: number;
  readonly security: Security;
  readonly clients: Clients;
  readonly clock: Clock;
  readonly log: Log;
}

/** Limit of streams per connection. Our clients have one stream for the member list, and few concurrent reads. */
const connectionLimits = {
  "grpc.max_concurrent_streams": 1_000,
  // Closes connections without streams; clients reconnect when necessary.
  "grpc.max_connection_idle_ms": 300_000,
};

/** Timeout of the TLS handshake, and of the first bytes after it. */
const HANDSHAKE_MS = 10_000;

/** The parts of a member that answer calls. */
export interface Serving {
  readonly cache: Cache;
  readonly members: MemberDirectory;
  readonly objects: ObjectService;
  /** Absent: this member keeps no values. */
  readonly values?: ValueService | undefined;
  /** The same values as clients may use them. */
  readonly clientValues?: Values | undefined;
}

/**
 * A member's gRPC port. It is opened first, before resources that another process with the same settings may be
 * using. It answers UNAVAILABLE until it gets a cache.
 *
 * The sockets are accepted here and passed to grpc-js. Its own function to close connections after a graceful shutdown
 * does nothing without channelz, and a hung client would keep the process alive.
 */
export class GrpcListener {
  readonly #options: GrpcListenerOptions;

  readonly #grpc = new Server({ ...listenerOptions, ...connectionLimits });
  readonly #connections = this.#grpc.createConnectionInjector(ServerCredentials.createInsecure());
  readonly #health = new HealthImplementation();
  readonly #calls = new RunningCalls();
  readonly #closing = new AbortController();
  /** Counts calls without a valid token. */
  readonly authenticationFailures: FailureCount;
  readonly #port: ListeningPort;
  /** Connections by the client's `address:port`. */
  readonly #authentications = new Map<string, ConnectionAuthentication>();
  #serving: Serving | undefined;
  #closed: Promise<void> | undefined;

  private constructor(options: GrpcListenerOptions) {
    this.#options = options;
    const acceptor = createAcceptor(options.security.tls, (socket) => this.#accept(socket));
    this.#port = new ListeningPort(acceptor, options);
    this.#setHealth("NOT_SERVING");
    // One listener per watch of the members.
    setMaxListeners(0, this.#closing.signal);
    const { clock, log, security, clients, httpSocket } = options;
    this.authenticationFailures = new FailureCount(clock, log, "authentication-failed", "authentication failed");
    const cutOff = (peer: string): void => this.#port.cutOff(peer);
    const served = {
      cache: () => this.#whenServing.cache,
      members: () => this.#whenServing.members,
      objects: () => this.#whenServing.objects,
      values: () => this.#whenServing.values,
      clientValues: () => this.#whenServing.clientValues,
    };
    const authentication = new CallAuthentication({
      connectionOf: (peer) => this.#authentications.get(peer),
      authorization: security.authorization,
      failures: this.authenticationFailures,
      log,
    });
    const { callerOf } = authentication;
    const { refusals } = security.members;
    const calls = { calls: this.#calls, closing: this.#closing.signal, clients, cutOff, callerOf, refusals };
    const { authorization } = security;
    const service = { ...served, ...calls, authorization, httpSocket, clock, log };
    this.#grpc.addService(servedMethods, authentication.authenticatedOnly(cacheServiceHandlers(service)));
    this.#grpc.addService(routerService, authentication.authenticatedOnly(routerServiceHandlers(service)));
    this.#grpc.addService(valueService, authentication.authenticatedOnly(valueServiceHandlers(service)));
    // Kubernetes calls it without a token.
    this.#health.addToServer(this.#grpc);
    addReflection(this.#grpc, (handlers) => authentication.authenticatedOnly(handlers));
  }

  /** Rejects with the system's error if the address cannot be listened on. */
  static async open(options: GrpcListenerOptions): Promise<GrpcListener> {
    const listener = new GrpcListener(options);
    await listener.#port.open();
    return listener;
  }

  /** The TCP address that it listens on, with the actual port if 0 was configured. Throws if it has only a Unix socket. */
  get address(): HostPort {
    return this.#port.address;
  }

  /** Number of open connections, including idle ones. */
  get openConnections(): number {
    return this.#port.openConnections;
  }

  /** Number of running calls. */
  get runningCalls(): number {
    return this.#calls.count;
  }

  /** Starts answering calls, and reports SERVING to health checks. */
  serve(serving: Serving): void {
    this.#serving = serving;
    this.#setHealth("SERVING");
  }

  /** Reports NOT_SERVING to health checks, and keeps answering. */
  announceShutdown(): void {
    this.#setHealth("NOT_SERVING");
  }

  /**
   * Reports NOT_SERVING, rejects new connections and calls, and lets running calls finish for `drainMs`; then closes connections.
   * Resolves when no connection is open. Further calls have no effect.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#setHealth("NOT_SERVING");
    const closed = this.#port.close();
    this.#closing.abort();
    // Despite its name, this is graceful: it sends GOAWAY to every client, and each connection ends with its last call.
    this.#connections.destroy();
    const { clock, drainMs } = this.#options;
    const cancels = [clock.after(drainMs, () => this.#port.cutOff())];
    void this.#calls.idle().then(() => cancels.push(clock.after(FLUSH_MS, () => this.#port.cutOff())));
    await closed;
    for (const cancel of cancels) cancel();
  }

  #accept(socket: Socket): void {
    this.#port.nameSecured(socket);
    const peer = `${socket.remoteAddress}:${socket.remotePort}`;
    const authentication = new ConnectionAuthentication(this.#options.security, peerOf(socket), this.#options.clock);
    this.#authentications.set(peer, authentication);
    socket.once("close", () => {
      // A new connection may use the same client port meanwhile.
      if (this.#authentications.get(peer) === authentication) this.#authentications.delete(peer);
    });
    this.#awaitFirstBytes(socket, authentication);
  }

  /** A member proves its identity before HTTP/2 begins. Other callers begin with HTTP/2 immediately. */
  #awaitFirstBytes(socket: Socket, authentication: ConnectionAuthentication): void {
    const { security, clock } = this.#options;
    const { listening: member, refusals } = security.members;
    const cancelTimer = clock.after(HANDSHAKE_MS, () => socket.destroy());
    // An error ends the connection; nothing else needs to be done.
    socket.on("error", () => {});
    socket.once("close", cancelTimer);
    const begin = (bytes: Buffer): void => {
      cancelTimer();
      socket.off("close", cancelTimer).pause();
      if (bytes.length > 0) socket.unshift(bytes);
      this.#connections.injectConnection(socket);
    };
    socket.once("data", (first: Buffer) => {
      if (!ListenerHandshake.begins(first)) return begin(first);
      answerHandshake({
        socket,
        first,
        member,
        onEnd: (proof, rest) => {
          authentication.proved(proof);
          begin(rest);
        },
        onFailed: ({ message }) => refusals.failed(message, { listener: "grpc", client: socket.remoteAddress }),
      });
    });
  }

  get #whenServing(): Serving {
    if (this.#serving === undefined) throw new NotServing();
    return this.#serving;
  }

  #setHealth(status: ServingStatus): void {
    for (const name of HEALTH_NAMES) this.#health.setStatus(name, status);
  }
}

/** Accepts connections, with TLS if configured, and passes on each established one. */
function createAcceptor(tls: TlsSecurity | undefined, accept: (socket: Socket) => void): NetServer {
  if (tls === undefined) return createServer({ noDelay: true }, accept);
  const { mutual } = tls;
  // The client certificate is verified before the first call; connections without one are rejected.
  const trust = { requestCert: mutual, rejectUnauthorized: mutual };
  const options = { noDelay: true, ALPNProtocols: ["h2"], handshakeTimeout: HANDSHAKE_MS, ...trust };
  const acceptor = createTlsServer({ ...options, ...tls.current }, (socket) => {
    // An error ends the connection; nothing else needs to be done.
    socket.on("error", () => {});
    accept(socket);
  });
  tls.handshakes.watch(acceptor, "grpc");
  tls.onChange((certificates) => acceptor.setSecureContext(certificates));
  return acceptor;
}
