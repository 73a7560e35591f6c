import type { Socket } from "node:net";
import { CacheError } from "@frontcache/proto";
import type { ConnectionAuthentication } from "../../security/connection-authentication.js";
import type { Client } from "../limits/clients.js";
import type { Reply } from "./http-context.js";

/** Requests that a client may send ahead of their answers; one that sends more is cut off. */
const MAX_WAITING = 100;

/** Then the client has to connect anew, perhaps to another member: services spread connections, not requests. */
const MAX_REQUESTS = 1_000_000;

/** One for all: an error of its own for each connection that ends would take longer than everything else about its end. */
const CLIENT_GONE = new CacheError("CANCELLED", "the client disconnected");

/**
 * One client's connection. Its requests are answered one after the other, so that a client which sends many ahead has one
 * read running, and they all share one signal: a client is gone when its connection is.
 */
export class Connection {
  readonly #socket: Socket;
  readonly authentication: ConnectionAuthentication;
  readonly client: Client;

  readonly #gone = new AbortController();
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

  /** Runs `answer`, which ends or destroys the response, when those before it are closed. */
  answer(response: Reply, answer: () => void): void {
    if (this.#waiting.length === MAX_WAITING) {
      this.cutOff();
      return;
    }
    if (this.#running) this.#waiting.push(() => this.#begin(response, answer));
    else this.#begin(response, answer);
  }

  /**
   * Calls back once, when the running answer is sent or can't be sent any more. The response's own `close` is not enough: it
   * never comes for one that still waited for its turn on the socket.
   */
  readonly whenClosed = (onClosed: () => void): void => {
    this.#onClosed = onClosed;
  };

  /** Ends it as soon as it has nothing to answer; what is still answered says so. */
  endWhenIdle(): void {
    this.#last = true;
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
