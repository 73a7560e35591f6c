import type { Socket } from "node:net";
import { CacheError, canBeEntityTag } from "@frontcache/proto";
import { SingleFlight, whenAborted } from "@frontcache/proto/runtime";
import { type ConnectionSetup, ConnectTimeout, type DirectSend, type HttpConnection } from "../../http/connection.js";
import { ConnectionPool } from "../../http/connection-pool.js";
import { dialDirectly } from "../../http/dial.js";
import type { HttpCall } from "../../http/http-call.js";
import { hostHeaderOf, openSocket, socketAddress } from "../../http/sockets.js";
import type { Access } from "../access.js";
import type { Clock } from "../clock.js";
import { ConnectionFailure, reasonOf } from "../connection-failure.js";
import { CallerHandshake } from "../member-handshake.js";
import {
  type BlockTransport,
  type CallLimits,
  type MemberAddress,
  type MoveBytes,
  type ReadTarget,
  Unreachable,
} from "../ports.js";
import { afterTicks, SilenceWatch, silentMsOf, type WaitingCall } from "../silence-watch.js";
import { type AnswerTo, HttpAnswer } from "./answer.js";
import { requestHead } from "./request-head.js";

/** Options of reads over HTTP. */
export interface HttpTransportOptions {
  readonly clock: Clock;
  /** Connection timeout after which the member is unreachable, milliseconds. */
  readonly connectTimeoutMs: number;
  readonly access: Access;
  /** Maximum connections to one member; further reads wait in order. */
  readonly mostConnections: number;
  /** Idle timeout of connections, milliseconds; shorter than that of members (75 s). */
  readonly idleMs: number;
  /** As in SilenceRule. Absent: no. */
  readonly probesEarly?: boolean | undefined;
  /** As in ConnectionSetup. */
  readonly directSend?: ((socket: Socket) => DirectSend) | undefined;
}

/** The source of a read. Shared by all reads, because each further object adds to the cost of a small read. */
interface Listener {
  readonly pool: ConnectionPool;
  readonly silence: SilenceWatch;
}

/** Reads from members over HTTP/1.1. The kernel writes the bytes into the target's memory without a copy. */
export class HttpTransport implements BlockTransport {
  readonly #options: HttpTransportOptions;
  readonly #listeners = new Map<string, Listener>();
  readonly #probes = new SingleFlight<string, void>();
  readonly #life = new AbortController();

  constructor(options: HttpTransportOptions) {
    this.#options = options;
  }

  /**
   * Reads as `BlockTransport.read`. Rejects with Unintelligible if the response is not a member's, UnnameableVersion for a
   * version that cannot be an entity tag.
   */
  read(address: MemberAddress, target: ReadTarget, limits: CallLimits): Promise<void> {
    const request = target.nextRequest();
    const { httpAddress } = address;
    if (limits.ended !== undefined) return Promise.reject(limits.ended);
    if (httpAddress === undefined) {
      return Promise.reject(new Unreachable(`${request.url}: member ${address.grpcAddress} has no HTTP listener`));
    }
    if (request.version !== "" && !canBeEntityTag(request.version)) return Promise.reject(new UnnameableVersion(request.url));
    try {
      const head = requestHead(request, hostHeaderOf(httpAddress), this.#options.access.authorization(), limits.remainingMs());
      return new HttpRead(head, { request, target, member: httpAddress }, this.#listenerAt(httpAddress), limits).settled;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Resolves when the event loop of the listener at the address has answered, on a new connection. An accepted connection
   * proves nothing: the kernel also accepts connections for a stopped process.
   */
  probe(httpAddress: string): Promise<void> {
    return this.#probes.run(httpAddress, () => probe(httpAddress, this.#options, this.#life.signal));
  }

  /** Closes connections to all other members after their running reads. */
  keepOnly(httpAddresses: ReadonlySet<string | undefined>): void {
    for (const [httpAddress, { pool }] of this.#listeners) {
      if (httpAddresses.has(httpAddress)) continue;
      pool.closeIdle();
      if (pool.size === 0) this.#listeners.delete(httpAddress);
    }
  }

  /** Uses new connections for further reads; running reads end on theirs. */
  renew(): void {
    for (const { pool } of this.#listeners.values()) pool.renew();
  }

  async close(): Promise<void> {
    this.#life.abort(new CacheError("CANCELLED", "the connections were closed"));
    for (const { silence } of this.#listeners.values()) silence.close();
    this.keepOnly(new Set());
  }

  #listenerAt(httpAddress: string): Listener {
    let listener = this.#listeners.get(httpAddress);
    if (listener === undefined) {
      const { clock, connectTimeoutMs, access, mostConnections, idleMs, probesEarly = false, directSend } = this.#options;
      const setUp = () => ({ ...memberConnection(httpAddress, access), directSend });
      listener = {
        pool: new ConnectionPool({ clock, connectTimeoutMs, setUp, mostConnections, idleMs }),
        silence: new SilenceWatch({
          clock,
          silentMs: silentMsOf(connectTimeoutMs),
          probesEarly,
          probe: () => this.probe(httpAddress),
        }),
      };
      this.#listeners.set(httpAddress, listener);
    }
    return listener;
  }
}

/** Returns how a connection to a member is opened, with its credentials as they are now. */
export function memberConnection(httpAddress: string, access: Access): ConnectionSetup {
  const member = access.member?.();
  const preamble = member === undefined ? undefined : new CallerHandshake(member, httpAddress);
  return { dial: dialDirectly(socketAddress(httpAddress), access.tls()), preamble };
}

/** The error for a version that HTTP cannot express. */
export class UnnameableVersion extends CacheError {
  constructor(url: string) {
    super("INVALID_ARGUMENT", `${url}: its version can't be an entity tag: use transport auto or grpc`);
  }
}

/** One read until its response was received: the call on a connection, and the reader of the response. */
class HttpRead extends HttpAnswer implements HttpCall, WaitingCall {
  readonly request: string;
  readonly answer = this;
  /** Resolves when the target is filled. */
  readonly settled: Promise<void>;
  readonly #listener: Listener;
  readonly #limits: CallLimits;
  readonly #forgetLimits: () => void;
  #resolve!: () => void;
  #reject!: (error: unknown) => void;
  previous: WaitingCall | undefined;
  next: WaitingCall | undefined;
  #connection: HttpConnection | undefined;

  constructor(request: string, to: AnswerTo, listener: Listener, limits: CallLimits) {
    super(to);
    this.request = request;
    this.#listener = listener;
    this.#limits = limits;
    this.settled = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#forgetLimits = limits.onEnd(() => this.#onEnded());
    listener.silence.add(this);
    listener.pool.run(this);
  }

  mayRepeat(): boolean {
    return true;
  }

  onStart(connection: HttpConnection): void {
    this.#connection = connection;
    this.to.target.sent();
  }

  onBytes(paused: boolean): void {
    const { silence } = this.#listener;
    silence.heard();
    if (paused) silence.remove(this);
  }

  override resume(): void {
    if (this.#connection?.resume(this) === true) this.#listener.silence.add(this);
  }

  get isDrained(): boolean {
    return this.to.target.isDrained === true;
  }

  get drainsLikely(): boolean {
    return this.to.target.drainsLikely === true;
  }

  override drain(move: MoveBytes): number {
    return this.#connection?.drain(this, move) ?? 0;
  }

  onComplete(): void {
    this.#listener.silence.heard();
    this.#end();
    if (this.failure === undefined) this.#resolve();
    else this.#reject(this.failure);
  }

  onRefused(error: unknown): void {
    this.#end();
    this.#reject(error);
  }

  onBroken(cause: Error | undefined, isConnected: boolean): void {
    this.#end();
    const failure = isConnected ? cause : ConnectionFailure.of(this.to.member, cause ?? new Error("it closed the connection"));
    const why = failure === undefined ? "it closed the connection" : isConnected ? reasonOf(failure) : failure.message;
    this.#reject(this.#unreachable(why, failure, cause instanceof ConnectTimeout));
  }

  /** Called when the call ended early. */
  #onEnded(): void {
    this.#end();
    this.#leave();
    this.#reject(this.#limits.ended);
  }

  onSilent(): void {
    this.#end();
    this.#leave();
    this.#reject(this.#unreachable(this.#listener.silence.cause, undefined, true));
  }

  /** Called when nothing more of the response is received. */
  #leave(): void {
    if (this.#connection === undefined) this.#listener.pool.forget(this);
    else this.#connection.drop(this);
  }

  #end(): void {
    this.#listener.silence.remove(this);
    this.#forgetLimits();
  }

  #unreachable(why: string, cause: Error | undefined, isGone: boolean): Unreachable {
    const { request, member } = this.to;
    return new Unreachable(`${request.url}: member ${member} is unreachable: ${why}`, {
      cause,
      isGone,
      hadBegun: this.begun,
    });
  }
}

function probe(
  httpAddress: string,
  { clock, access, connectTimeoutMs }: HttpTransportOptions,
  signal: AbortSignal,
): Promise<void> {
  const timeoutMs = silentMsOf(connectTimeoutMs);
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const socket = openSocket(socketAddress(httpAddress), access.tls());
    const settle = (then: () => void): void => {
      cancelTimer();
      forgetAbort();
      socket.destroy();
      then();
    };
    const fail = (error: unknown): void => settle(() => reject(ConnectionFailure.of(httpAddress, error)));
    const cancelTimer = afterTicks(clock, timeoutMs, () => {
      fail(new ConnectionFailure(httpAddress, `no answer within ${timeoutMs} ms`));
    });
    const forgetAbort = whenAborted(signal, () => settle(() => reject(signal.reason)));
    socket.on("error", fail);
    socket.once("close", () => fail(new Error("it closed the connection")));
    // Any response proves that its event loop runs.
    socket.once("data", () => settle(resolve));
    socket.write(`GET /livez HTTP/1.1\r\nHost: ${hostHeaderOf(httpAddress)}\r\nConnection: close\r\n\r\n`);
  });
}
