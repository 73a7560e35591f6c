import type { Access } from "../access.js";
import type { Clock } from "../clock.js";
import type { SocketAddress } from "../socket-address.js";
import { type HttpCall, HttpConnection } from "./connection.js";

export interface ConnectionPoolOptions {
  readonly address: SocketAddress;
  readonly clock: Clock;
  readonly connectTimeoutMs: number;
  readonly access: Access;
  /** Connections at a time, at least 1. */
  readonly mostConnections: number;
  /** How long a connection is kept that nobody uses, milliseconds. */
  readonly idleMs: number;
}

/** An exchange on its way through the pool. */
export interface PooledCall extends HttpCall {
  /** Told what it runs on, whenever that changes. */
  onStart(connection: HttpConnection): void;
}

interface Idle {
  readonly connection: HttpConnection;
  readonly sinceMs: number;
}

/**
 * The connections to one gateway: made when needed, used again and again, closed when idle for long. Exchanges that find none
 * free wait in order.
 */
export class ConnectionPool {
  readonly #options: ConnectionPoolOptions;
  readonly #all = new Set<HttpConnection>();
  /** The last one to become idle comes last and is taken first, so that those beyond the need grow old. */
  readonly #idle: Idle[] = [];
  readonly #waiting = new Set<PooledCall>();
  #cancelTimer: (() => void) | undefined;

  constructor(options: ConnectionPoolOptions) {
    this.#options = options;
  }

  /** Connections, whatever they do. */
  get size(): number {
    return this.#all.size;
  }

  /** Runs the exchange on a connection that is free, or will be. */
  run(exchange: PooledCall): void {
    const idle = this.#idle.pop();
    if (idle !== undefined) this.#start(exchange, idle.connection);
    else if (this.#all.size < this.#options.mostConnections) this.runAfresh(exchange);
    else this.#waiting.add(exchange);
  }

  /** Runs it on a new connection: once more, while it is told that its old one broke. */
  runAfresh(exchange: PooledCall): void {
    let connection: HttpConnection;
    try {
      connection = this.#connect();
    } catch (error) {
      // Certificates come from the caller: they may be none, or not to be had at this moment.
      const cause = error instanceof Error ? error : new Error(String(error));
      exchange.onBroken(cause);
      if (this.#all.size === 0) this.#breakWaiting(cause);
      return;
    }
    this.#start(exchange, connection);
  }

  /** Forgets an exchange that waits. */
  forget(exchange: PooledCall): void {
    this.#waiting.delete(exchange);
  }

  /** Closes the connections that nobody uses now. */
  closeIdle(): void {
    for (const { connection } of [...this.#idle]) connection.close();
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  #connect(): HttpConnection {
    const { address, clock, connectTimeoutMs, access } = this.#options;
    const ends = { onIdle: this.#onIdle, onGone: this.#onGone };
    const connection = new HttpConnection({ address, clock, connectTimeoutMs, tls: access.tls(), ...ends });
    this.#all.add(connection);
    return connection;
  }

  #start(exchange: PooledCall, connection: HttpConnection): void {
    exchange.onStart(connection);
    connection.run(exchange);
  }

  #nextWaiting(): PooledCall | undefined {
    for (const next of this.#waiting) {
      this.#waiting.delete(next);
      return next;
    }
    return undefined;
  }

  readonly #onIdle = (connection: HttpConnection): void => {
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
    const at = this.#idle.findIndex((idle) => idle.connection === connection);
    if (at >= 0) this.#idle.splice(at, 1);
    if (connection.stood || connection.givenUp) {
      const next = this.#all.size < this.#options.mostConnections ? this.#nextWaiting() : undefined;
      if (next !== undefined) this.runAfresh(next);
    } else if (this.#all.size === 0) this.#breakWaiting(new Error("no connection stands"));
  };

  /** Nobody can connect: those that wait need not try one after the other. */
  #breakWaiting(cause: Error): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const exchange of waiting) exchange.onBroken(cause);
  }

  readonly #sweep = (): void => {
    const { clock, idleMs } = this.#options;
    const nowMs = clock.monotonicMs();
    while (this.#idle.length > 0 && this.#idle[0]!.sinceMs + idleMs <= nowMs) this.#idle[0]!.connection.close();
    const oldest = this.#idle[0];
    this.#cancelTimer = oldest === undefined ? undefined : clock.after(oldest.sinceMs + idleMs - nowMs, this.#sweep);
  };
}
