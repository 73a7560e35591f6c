import { type ConnectionSetup, HttpConnection } from "./connection.js";
import type { HttpCall } from "./http-call.js";
import type { HttpClock } from "./timeouts.js";

export interface ConnectionPoolOptions {
  readonly clock: HttpClock;
  /** As in HttpConnectionOptions. */
  readonly connectTimeoutMs: number;
  readonly secureTimeoutMs?: number | undefined;
  /** Returns how a new connection is opened. May throw: certificates may be invalid or temporarily unreadable. */
  setUp(): ConnectionSetup;
  /** Maximum connections, at least 1. */
  readonly mostConnections: number;
  /** Idle timeout of a connection, milliseconds. */
  readonly idleMs: number;
}

/**
 * The connections to one peer: opened when needed, reused, closed after an idle timeout. Calls without a free one wait in
 * order. A call that is lost on a connection that the peer had closed runs again on a new one, once.
 */
export class ConnectionPool {
  readonly #options: ConnectionPoolOptions;
  readonly #all = new Set<HttpConnection>();
  /** The most recently used connection is taken first, so that surplus connections expire. */
  readonly #idle: HttpConnection[] = [];
  readonly #waiting = new Set<HttpCall>();
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

  /** Runs the call on a free or new connection, or has it wait for one. */
  run(call: HttpCall): "started" | "waiting" {
    const idle = this.#idle.pop();
    if (idle !== undefined) this.#start(call, idle);
    else if (this.#all.size < this.#options.mostConnections) this.#runAfresh(call);
    else {
      this.#waiting.add(call);
      return "waiting";
    }
    return "started";
  }

  /** Removes a waiting call. */
  forget(call: HttpCall): void {
    this.#waiting.delete(call);
  }

  /** Uses new connections for further calls. */
  renew(): void {
    this.closeIdle();
    for (const connection of this.#all) this.#outdated.add(connection);
  }

  /** Closes all idle connections. */
  closeIdle(): void {
    for (const connection of [...this.#idle]) connection.close();
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  /** Closes all connections. Calls that run or wait are broken by `cause`. */
  close(cause: Error): void {
    this.#breakWaiting(cause);
    this.closeIdle();
    for (const connection of [...this.#all]) connection.abort(cause);
  }

  /** Runs the call on a new connection. */
  #runAfresh(call: HttpCall): void {
    let connection: HttpConnection;
    try {
      connection = this.#connect();
    } catch (error) {
      const cause = error instanceof Error ? error : new Error(String(error));
      call.onBroken(cause, false);
      if (this.#all.size === 0) this.#breakWaiting(cause);
      return;
    }
    this.#start(call, connection);
  }

  #connect(): HttpConnection {
    const { setUp, clock, connectTimeoutMs, secureTimeoutMs } = this.#options;
    const ends = { onIdle: this.#onIdle, onStale: this.#onStale, onGone: this.#onGone };
    const connection = new HttpConnection({ ...setUp(), clock, connectTimeoutMs, secureTimeoutMs, ...ends });
    this.#all.add(connection);
    return connection;
  }

  #start(call: HttpCall, connection: HttpConnection): void {
    call.onStart(connection);
    connection.run(call);
  }

  #nextWaiting(): HttpCall | undefined {
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
    connection.idleSinceMs = this.#options.clock.monotonicMs();
    this.#idle.push(connection);
    this.#cancelTimer ??= this.#options.clock.after(this.#options.idleMs, this.#sweep);
  };

  readonly #onStale = (call: HttpCall): void => this.#runAfresh(call);

  readonly #onGone = (connection: HttpConnection, cause: Error | undefined): void => {
    this.#all.delete(connection);
    this.#outdated.delete(connection);
    const at = this.#idle.indexOf(connection);
    if (at >= 0) this.#idle.splice(at, 1);
    if (connection.connected || connection.closedHere) {
      const next = this.#all.size < this.#options.mostConnections ? this.#nextWaiting() : undefined;
      if (next !== undefined) this.#runAfresh(next);
    } else if (this.#all.size === 0) this.#breakWaiting(cause ?? new Error("no connection could be made"));
  };

  /** Called when no connection can be made. The waiting calls fail together instead of trying one after the other. */
  #breakWaiting(cause: Error): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const call of waiting) call.onBroken(cause, false);
  }

  readonly #sweep = (): void => {
    const { clock, idleMs } = this.#options;
    const nowMs = clock.monotonicMs();
    while (this.#idle.length > 0 && this.#idle[0]!.idleSinceMs + idleMs <= nowMs) this.#idle[0]!.close();
    const oldest = this.#idle[0];
    this.#cancelTimer = oldest === undefined ? undefined : clock.after(oldest.idleSinceMs + idleMs - nowMs, this.#sweep);
  };
}
