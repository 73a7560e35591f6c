import type { Access } from "../access.js";
import type { Clock } from "../clock.js";
import type { SocketAddress } from "../connection-failure.js";
import { CallerHandshake } from "../member-handshake.js";
import { type HttpCall, HttpConnection } from "./connection.js";

export interface ConnectionPoolOptions {
  readonly address: SocketAddress;
  /** The address as `host:port`. */
  readonly hostPort: string;
  readonly clock: Clock;
  readonly connectTimeoutMs: number;
  readonly access: Access;
  /** Maximum connections, at least 1. */
  readonly mostConnections: number;
  /** Idle timeout of a connection, milliseconds. */
  readonly idleMs: number;
}

/** A call in the pool. */
export interface PooledCall extends HttpCall {
  /** Called with the connection of the call whenever it changes. */
  onStart(connection: HttpConnection): void;
}

interface Idle {
  readonly connection: HttpConnection;
  readonly sinceMs: number;
}

/**
 * The connections to one member: opened when needed, reused, closed after an idle timeout. Calls without a free one wait in
 * order.
 */
export class ConnectionPool {
  readonly #options: ConnectionPoolOptions;
  readonly #all = new Set<HttpConnection>();
  /** The most recently used connection is taken first, so that surplus connections expire. */
  readonly #idle: Idle[] = [];
  readonly #waiting = new Set<PooledCall>();
  /** Busy connections that are closed after their call. */
  readonly #outdated = new Set<HttpConnection>();
  #cancelTimer: (() => void) | undefined;

  constructor(options: ConnectionPoolOptions) {
    this.#options = options;
  }

  /** Number of connections, busy and idle. */
  get size(): number {
    return this.#all.size;
  }

  /** Runs the call on a free connection, possibly after a wait. */
  run(call: PooledCall): void {
    const idle = this.#idle.pop();
    if (idle !== undefined) this.#start(call, idle.connection);
    else if (this.#all.size < this.#options.mostConnections) this.runAfresh(call);
    else this.#waiting.add(call);
  }

  /** Runs the call again on a new connection, after its old one was closed. */
  runAfresh(call: PooledCall): void {
    let connection: HttpConnection;
    try {
      connection = this.#connect();
    } catch (error) {
      // Certificates come from the caller: they may be invalid or temporarily unreadable.
      const cause = error instanceof Error ? error : new Error(String(error));
      call.onBroken(cause);
      if (this.#all.size === 0) this.#breakWaiting(cause);
      return;
    }
    this.#start(call, connection);
  }

  /** Removes a waiting call. */
  forget(call: PooledCall): void {
    this.#waiting.delete(call);
  }

  /** Uses new connections for further calls. */
  renew(): void {
    this.closeIdle();
    for (const connection of this.#all) this.#outdated.add(connection);
  }

  /** Closes all idle connections. */
  closeIdle(): void {
    for (const { connection } of [...this.#idle]) connection.close();
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  #connect(): HttpConnection {
    const { address, hostPort, clock, connectTimeoutMs, access } = this.#options;
    const member = access.member?.();
    const handshake = member === undefined ? undefined : new CallerHandshake(member, hostPort);
    const ends = { onIdle: this.#onIdle, onGone: this.#onGone };
    const connection = new HttpConnection({ address, clock, connectTimeoutMs, tls: access.tls(), handshake, ...ends });
    this.#all.add(connection);
    return connection;
  }

  #start(call: PooledCall, connection: HttpConnection): void {
    call.onStart(connection);
    connection.run(call);
  }

  #nextWaiting(): PooledCall | undefined {
    for (const next of this.#waiting) {
      this.#waiting.delete(next);
      return next;
    }
    return undefined;
  }

  readonly #onIdle = (connection: HttpConnection): void => {
    if (this.#outdated.size > 0 && this.#outdated.has(connection)) {
      connection.close();
      return;
    }
    const next = this.#nextWaiting();
    if (next !== undefined) {
      this.#start(next, connection);
      return;
    }
    this.#idle.push({ connection, sinceMs: this.#options.clock.monotonicMs() });
    this.#cancelTimer ??= this.#options.clock.after(this.#options.idleMs, this.#sweep);
  };

  readonly #onGone = (connection: HttpConnection): void => {
    this.#all.delete(connection);
    this.#outdated.delete(connection);
    const at = this.#idle.findIndex((idle) => idle.connection === connection);
    if (at >= 0) this.#idle.splice(at, 1);
    if (connection.connected || connection.closedHere) {
      const next = this.#all.size < this.#options.mostConnections ? this.#nextWaiting() : undefined;
      if (next !== undefined) this.runAfresh(next);
    } else if (this.#all.size === 0) this.#breakWaiting(new Error("no connection could be made"));
  };

  /** Called when no connection can be made. The waiting calls fail together instead of trying one after the other. */
  #breakWaiting(cause: Error): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const call of waiting) call.onBroken(cause);
  }

  readonly #sweep = (): void => {
    const { clock, idleMs } = this.#options;
    const nowMs = clock.monotonicMs();
    while (this.#idle.length > 0 && this.#idle[0]!.sinceMs + idleMs <= nowMs) this.#idle[0]!.connection.close();
    const oldest = this.#idle[0];
    this.#cancelTimer = oldest === undefined ? undefined : clock.after(oldest.sinceMs + idleMs - nowMs, this.#sweep);
  };
}
