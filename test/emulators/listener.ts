import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { type Fault, Faults, type Hold, type SeenRequest } from "./faults.js";
import { pause } from "./pause.js";
import { Traffic } from "./traffic.js";

/** A request and the means to answer it. */
export interface Exchange {
  readonly seen: SeenRequest;
  readonly fault: Fault;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly traffic: Traffic;
  /** Answers with an error in the store's format. */
  fail(status: number, code: string, headers?: Record<string, string>): void;
}

/** The HTTP dialect of a store. */
export interface Dialect {
  /**
   * Parses the bucket and key from the raw path (a URL object would normalise `..`) and the Host header. Throws
   * URIError.
   */
  read(path: string, host: string): { bucket: string; key: string };
  answer(exchange: Exchange): Promise<void> | void;
  sendError(exchange: Exchange, status: number, code: string, headers: Record<string, string>): void;
}

/** An HTTP listener on a free local port with traffic counters and configurable faults. */
export class Listener {
  readonly faults = new Faults();
  readonly traffic = new Traffic();
  readonly #dialect: Dialect;
  readonly #server = createServer((request, response) => void this.#serve(request, response));
  readonly #sockets = new Set<Socket>();
  #url = "";

  constructor(dialect: Dialect) {
    this.#dialect = dialect;
    this.#server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
      socket.on("error", () => {}); // clients may disconnect at any time
    });
    // Idle connections stay open until the client or `close` ends them, so that tests can detect leaked connections.
    this.#server.keepAliveTimeout = 0;
    this.#server.requestTimeout = 0;
  }

  async listen(): Promise<void> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    this.#url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** `http://127.0.0.1:port`, also after it was closed. */
  get url(): string {
    return this.#url;
  }

  /** Open connections, including idle ones. */
  get openSockets(): number {
    return this.#sockets.size;
  }

  /** Closes every connection, including those with running requests. */
  async close(): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.traffic.begin(request.method!);
    response.on("close", () => this.traffic.end());
    const exchange = this.#exchange(request, response);
    if (exchange === undefined) return;
    const { fault } = exchange;
    const latencyMs = typeof fault.latencyMs === "function" ? fault.latencyMs() : fault.latencyMs;
    if (latencyMs !== undefined) await pause(latencyMs, response);
    const { hold } = fault;
    if (hold !== undefined) response.once("close", () => hold.end());
    if (hold?.at === "head") await Promise.race([hold.pass(), hold.ended]);
    if (response.destroyed) return;
    if (fault.reset) request.socket.resetAndDestroy();
    else if (fault.page !== undefined) response.writeHead(200, { "Content-Type": "text/html" }).end(fault.page);
    else if (fault.error) exchange.fail(fault.error.status, fault.error.code, fault.error.headers);
    else {
      if (fault.lostAnswer) loseAnswer(response);
      if (hold?.at === "answer") holdAnswer(response, hold);
      if (fault.resetInBody !== undefined) resetInBody(request, fault.resetInBody);
      await this.#dialect.answer(exchange);
    }
  }

  #exchange(request: IncomingMessage, response: ServerResponse): Exchange | undefined {
    const { traffic } = this;
    const { pathname, query } = splitTarget(request.url!);
    const fail: Exchange["fail"] = (status, code, headers = {}) => {
      const { bucket, key, method } = exchange.seen;
      if (method === "GET" && key !== "") traffic.gets.push({ bucket, key, start: 0, end: 0, status, atMs: performance.now() });
      this.#dialect.sendError(exchange, status, code, headers);
    };
    const seen = { method: request.method!, bucket: "", key: "", query, headers: request.headers };
    let exchange: Exchange = { seen, fault: {}, request, response, traffic, fail };
    try {
      const named = { ...seen, ...this.#dialect.read(pathname, request.headers.host ?? "") };
      exchange = { ...exchange, seen: named, fault: this.faults.apply(named) };
      return exchange;
    } catch (error) {
      if (!(error instanceof URIError)) throw error;
      fail(400, "InvalidURI");
      return undefined;
    }
  }
}

/** Resets the connection when the response would begin. */
function loseAnswer(response: ServerResponse): void {
  response.writeHead = () => {
    (response.socket as Socket | null)?.resetAndDestroy();
    return response;
  };
}

/** Sends the response, which is ended in one go, when it is released. */
function holdAnswer(response: ServerResponse, hold: Hold): void {
  const [writeHead, end] = [response.writeHead.bind(response), response.end.bind(response)];
  let head: unknown[] = [];
  response.writeHead = (...args: unknown[]) => {
    head = args;
    return response;
  };
  response.end = (...args: unknown[]) => {
    void hold.pass().then(() => {
      writeHead(...(head as Parameters<typeof writeHead>));
      end(...(args as []));
    });
    return response;
  };
}

function resetInBody(request: IncomingMessage, bytes: number): void {
  let received = 0;
  request.on("data", (chunk: Buffer) => {
    received += chunk.length;
    if (received >= bytes) request.socket.resetAndDestroy();
  });
}

function splitTarget(target: string): { pathname: string; query: URLSearchParams } {
  const mark = target.indexOf("?");
  if (mark < 0) return { pathname: target, query: new URLSearchParams() };
  return { pathname: target.slice(0, mark), query: new URLSearchParams(target.slice(mark + 1)) };
}
