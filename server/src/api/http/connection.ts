import type { Socket } from "node:net";
import { CacheError } from "@frontcache/proto";
import { AbortSource } from "@frontcache/proto/runtime";
import type { ConnectionAuthentication } from "../../security/connection-authentication.js";
import type { Client } from "../limits/clients.js";
import type { Reply } from "./http-context.js";

/** Maximum pipelined requests. If a client sends more, its connection is closed. */
const MAX_WAITING = 100;

/** Maximum requests of a connection. The client then reconnects, perhaps to another member: Services balance connections. */
const MAX_REQUESTS = 1_000_000;

/** Shared by all connections, because creating an error costs more than the rest of a connection's end. */
const CLIENT_GONE = new CacheError("CANCELLED", "the client disconnected");

/**
 * A client's connection. Its requests are answered one after the other, so a client that pipelines has only one
 * running read. All requests share one signal, which is aborted when the connection is closed.
 */
export class Connection {
  readonly #socket: Socket;
  readonly authentication: ConnectionAuthentication;
  readonly client: Client;

  readonly #gone = new AbortSource();
  readonly #waiting: (() => void)[] = [];
  #requests = 0;
  #running = false;
  #onClosed: (() => void) | undefined;
  #last = false;

  constructor(socket: Socket, authentication: ConnectionAuthentication, client: Client) {
    this.#socket = socket;
    this.authentication = authentication;
    this.client = client;
    socket.once("close", () => {
      this.#waiting.length = 0;
      this.#gone.abort(CLIENT_GONE);
      this.#ended();
    });
  }

  /** Aborted when the connection is closed. */
  get signal(): AbortSignal {
    return this.#gone.signal;
  }

  /** Whether a request is being answered. */
  get running(): boolean {
    return this.#running;
  }

  /** Runs `answer`, which ends or destroys the response, when the previous responses are closed. */
  answer(response: Reply, answer: () => void): void {
    if (this.#waiting.length === MAX_WAITING) {
      this.cutOff();
      return;
    }
    if (this.#running) this.#waiting.push(() => this.#begin(response, answer));
    else this.#begin(response, answer);
  }

  /**
   * Calls back once, when the running response was sent or can no longer be sent. The response's `close` event is not enough: it
   * is never emitted for a response that is still waiting for the socket.
   */
  readonly whenClosed = (onClosed: () => void): void => {
    this.#onClosed = onClosed;
  };

  /** The next response is the last one, and announces it. */
  endAfterAnswer(): void {
    this.#last = true;
  }

  /** Closes the connection after its running and queued responses, which announce it. */
  endWhenIdle(): void {
    this.endAfterAnswer();
    if (!this.#running) this.cutOff();
  }

  cutOff(): void {
    this.#socket.destroy();
  }

  #begin(response: Reply, answer: () => void): void {
    this.#running = true;
    response.on("close", this.#ended);
    if (++this.#requests === MAX_REQUESTS) this.#last = true;
    if (this.#last) response.setHeader("Connection", "close");
    answer();
  }

  readonly #ended = (): void => {
    if (!this.#running) return;
    this.#running = false;
    const onClosed = this.#onClosed;
    this.#onClosed = undefined;
    onClosed?.();
    if (this.#socket.destroyed) return;
    const begin = this.#waiting.shift();
    if (begin !== undefined) begin();
    else if (this.#last) this.#socket.destroySoon();
  };
}
