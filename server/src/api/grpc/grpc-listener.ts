import { setMaxListeners } from "node:events";
import { createRequire } from "node:module";
import { createServer, type Server as NetServer, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { routerService } from "@frontcache/client/grpc";
import { ListenerHandshake } from "@frontcache/client/members";
import { CacheServiceDefinition, listenerOptions, RouterServiceDefinition } from "@frontcache/proto";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { ReflectionService } from "@grpc/reflection";
import { HealthImplementation, protoPath as healthProtoPath, type ServingStatus } from "grpc-health-check";
import type { HostPort } from "../../config/addresses.js";
import type { ObjectService } from "../../objects/object-homes.js";
import type { Cache, MemberDirectory } from "../../routing/cache.js";
import type { Clock } from "../../runtime/clock.js";
import type { Log } from "../../runtime/log.js";
import { answerHandshake } from "../../security/answer-handshake.js";
import { ConnectionAuthentication } from "../../security/connection-authentication.js";
import { FailureCount } from "../../security/failure-count.js";
import { peerOf } from "../../security/member-authentication.js";
import type { Security, TlsSecurity } from "../../security/member-security.js";
import { ANONYMOUS, type Principal } from "../../security/principal.js";
import { NotServing } from "../call-status.js";
import type { Clients } from "../limits/clients.js";
import { ListeningPort } from "../listening-port.js";
import { authenticatedOnly } from "./authenticated-only.js";
import { cacheServiceHandlers, routerServiceHandlers, servedMethods } from "./cache-service.js";
import { RunningCalls } from "./running-calls.js";

/** Reflection serves the contract from the file that the proto package carries. */
const PROTO_PATH = createRequire(import.meta.url).resolve("@frontcache/proto/cache.proto");

/** The names that health checks ask for: the process as a whole, and its services. */
const HEALTH_NAMES = ["", CacheServiceDefinition.fullName, RouterServiceDefinition.fullName];

/** After the last call ended, its trailers still have to be sent; what is open after that are watches of health. */
const FLUSH_MS = 100;

export interface GrpcListenerOptions {
  readonly listen: HostPort;
  /** The time that running calls get to finish when the listener is closed, milliseconds. */
  readonly drainMs: number;
  readonly security: Security;
  readonly clients: Clients;
  readonly clock: Clock;
  readonly log: Log;
}

/** Our clients keep one stream open for the member list, and few reads at a time. */
const connectionLimits = {
  "grpc.max_concurrent_streams": 1_000,
  // A connection without a stream: whoever needs it again connects again.
  "grpc.max_connection_idle_ms": 300_000,
};

/** How long a client may take over TLS's handshake, and how long after it until its first bytes. */
const HANDSHAKE_MS = 10_000;

/**
 * A member's gRPC port. It is taken first, before anything is touched that another process with the same settings may be
 * using, and answers UNAVAILABLE until it is given a cache.
 *
 * The sockets are accepted here and handed to grpc-js: its own way of cutting connections off after a graceful shutdown
 * does nothing where channelz is off, and a client that hangs would keep the process alive.
 */
/** What calls are answered by. */
export interface Serving {
  readonly cache: Cache;
  readonly members: MemberDirectory;
  readonly objects: ObjectService;
}

export class GrpcListener {
  readonly #options: GrpcListenerOptions;

  readonly #grpc = new Server({ ...listenerOptions, ...connectionLimits });
  readonly #connections = this.#grpc.createConnectionInjector(ServerCredentials.createInsecure());
  readonly #health = new HealthImplementation();
  readonly #calls = new RunningCalls();
  readonly #closing = new AbortController();
  /** Calls without a valid token. */
  readonly authenticationFailures: FailureCount;
  readonly #port: ListeningPort;
  /** By the client's `address:port`. */
  readonly #authentications = new Map<string, ConnectionAuthentication>();
  #serving: Serving | undefined;
  #closed: Promise<void> | undefined;

  private constructor(options: GrpcListenerOptions) {
    this.#options = options;
    const acceptor = createAcceptor(options.security.tls, (socket) => this.#accept(socket));
    this.#port = new ListeningPort(acceptor, options);
    this.#setHealth("NOT_SERVING");
    // One listener for each watch of the members.
    setMaxListeners(0, this.#closing.signal);
    const { clock, log, security, clients } = options;
    this.authenticationFailures = new FailureCount(clock, log, "authentication-failed", "authentication failed");
    const cutOff = (peer: string): void => this.#port.cutOff(peer);
    const served = {
      cache: () => this.#whenServing.cache,
      members: () => this.#whenServing.members,
      objects: () => this.#whenServing.objects,
    };
    const principalOf = (peer: string): Principal => this.#authentications.get(peer)?.principal ?? ANONYMOUS;
    const { refusals } = security.members;
    const calls = { calls: this.#calls, closing: this.#closing.signal, clients, cutOff, principalOf, refusals };
    const service = { ...served, ...calls, clock, log };
    this.#grpc.addService(
      servedMethods,
      authenticatedOnly(cacheServiceHandlers(service), security, log, this.authenticationFailures),
    );
    this.#grpc.addService(
      routerService,
      authenticatedOnly(routerServiceHandlers(service), security, log, this.authenticationFailures),
    );
    // Kubernetes asks it, and has no token.
    this.#health.addToServer(this.#grpc);
    new ReflectionService(loadSync([PROTO_PATH, healthProtoPath])).addToServer({
      addService: (methods, handlers) =>
        this.#grpc.addService(methods, authenticatedOnly(handlers, security, log, this.authenticationFailures)),
    });
  }

  /** Rejects with the system's error where the address can't be listened on. */
  static async open(options: GrpcListenerOptions): Promise<GrpcListener> {
    const listener = new GrpcListener(options);
    await listener.#port.open();
    return listener;
  }

  /** What it listens on, with the port that was picked where 0 was asked for. */
  get address(): HostPort {
    return this.#port.address;
  }

  /** Connections open now, idle ones included. */
  get openConnections(): number {
    return this.#port.openConnections;
  }

  /** Calls that run. */
  get runningCalls(): number {
    return this.#calls.count;
  }

  /** Answers calls from now on, and says so to health checks. */
  serve(serving: Serving): void {
    this.#serving = serving;
    this.#setHealth("SERVING");
  }

  /** Says to health checks that it is about to close, and goes on answering. */
  announceShutdown(): void {
    this.#setHealth("NOT_SERVING");
  }

  /**
   * Not serving for health checks, no new connections or calls; running calls get `drainMs`, what is left then is cut off.
   * Resolves when no connection is left. Harmless when repeated.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#setHealth("NOT_SERVING");
    const closed = this.#port.close();
    this.#closing.abort();
    // Despite its name this is the graceful way: GOAWAY to every client, and each connection ends with its last call.
    this.#connections.destroy();
    const { clock, drainMs } = this.#options;
    const cancels = [clock.after(drainMs, () => this.#port.cutOff())];
    void this.#calls.idle().then(() => cancels.push(clock.after(FLUSH_MS, () => this.#port.cutOff())));
    await closed;
    for (const cancel of cancels) cancel();
  }

  #accept(socket: Socket): void {
    const peer = `${socket.remoteAddress}:${socket.remotePort}`;
    const authentication = new ConnectionAuthentication(this.#options.security, peerOf(socket));
    this.#authentications.set(peer, authentication);
    socket.once("close", () => {
      // Another connection may have come from the same port meanwhile.
      if (this.#authentications.get(peer) === authentication) this.#authentications.delete(peer);
    });
    this.#awaitFirstBytes(socket, authentication);
  }

  /** A member proves itself before HTTP/2 begins; everybody else begins with it at once. */
  #awaitFirstBytes(socket: Socket, authentication: ConnectionAuthentication): void {
    const { security, clock } = this.#options;
    const { listening: member, refusals } = security.members;
    const cancelTimer = clock.after(HANDSHAKE_MS, () => socket.destroy());
    // What breaks here ends the connection, which is all that matters.
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

/** Accepts connections, by TLS if configured, and hands over each established one. */
function createAcceptor(tls: TlsSecurity | undefined, accept: (socket: Socket) => void): NetServer {
  if (tls === undefined) return createServer({ noDelay: true }, accept);
  const { mutual } = tls;
  // A certificate's bearer is known before the first call: who has none is not talked to at all.
  const trust = { requestCert: mutual, rejectUnauthorized: mutual };
  const options = { noDelay: true, ALPNProtocols: ["h2"], handshakeTimeout: HANDSHAKE_MS, ...trust };
  const acceptor = createTlsServer({ ...options, ...tls.current }, (socket) => {
    // What breaks here ends the connection, which is all that matters.
    socket.on("error", () => {});
    accept(socket);
  });
  tls.handshakes.watch(acceptor, "grpc");
  tls.onChange((certificates) => acceptor.setSecureContext(certificates));
  return acceptor;
}
