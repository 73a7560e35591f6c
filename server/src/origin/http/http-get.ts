import {
  type ClientRequest,
  type ClientRequestArgs,
  Agent as HttpAgent,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  request as requestHttp,
} from "node:http";
import { Agent as HttpsAgent, request as requestHttps } from "node:https";
import { isIP, isIPv6, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { connect as connectTls } from "node:tls";
import { whenAborted } from "@frontcache/proto/runtime";
import { systemClock } from "../../runtime/clock.js";
import { noteBypass, SocketReads } from "./socket-reads.js";
import { hostOf, portOf, sendToProxies, tunnel, type Way } from "./way.js";

/** An HTTP server with connections of its own, which are kept alive. */
export interface HttpTarget {
  readonly base: URL;
  readonly agent: HttpAgent | HttpsAgent;
  /** Timeout of a connection on which nothing moves: while it opens, before the head and in the body. */
  readonly idleTimeoutMs: number;
}

/** `endpoint` is `http(s)://host[:port][/prefix]`. At most `maxConnections` connections; further requests wait for one. */
export function httpTarget(endpoint: string, maxConnections: number, idleTimeoutMs: number, way: Way): HttpTarget {
  const base = new URL(endpoint);
  const agent = base.protocol === "https:" ? originHttpsAgent(maxConnections, way) : originHttpAgent(maxConnections, way);
  return { base, agent, idleTimeoutMs };
}

/** One GET or HEAD. */
export interface HttpGet extends HttpTarget {
  /** Default: GET. */
  readonly method?: "GET" | "HEAD";
  /** Sent verbatim after the base's path. */
  readonly path: string;
  /** Names in lower case. */
  readonly headers: OutgoingHttpHeaders;
  /** For a connection to open or to become free; undefined: only the idle timeout counts. */
  readonly connectTimeoutMs: number | undefined;
  /** The body is read from the response itself, and does not bypass the parser. Absent: by a SocketBody. */
  readonly isStreamed?: boolean;
}

/**
 * Sends a GET or HEAD; resolves with the response when its head has arrived. Aborts and timeouts end the body, too. The body of a range may
 * bypass the HTTP parser: read it by a SocketBody.
 */
export function httpGet(get: HttpGet, signal: AbortSignal): Promise<IncomingMessage> {
  const { base, method = "GET", path, headers, agent, connectTimeoutMs, idleTimeoutMs, isStreamed = false } = get;
  const send = base.protocol === "https:" ? requestHttps : requestHttp;
  return new Promise((resolve, reject) => {
    const request = send({
      agent,
      method,
      headers,
      hostname: base.hostname.replace(/^\[(.*)\]$/, "$1"),
      port: base.port,
      path: base.pathname.replace(/\/$/, "") + path,
      timeout: idleTimeoutMs,
    });
    let removeAbort: (() => void) | undefined;
    const cleanUp = (): void => {
      stopTimer();
      removeAbort?.();
    };
    const fail = (error: Error): void => {
      cleanUp();
      request.destroy(error);
      reject(error); // a request that waits for a connection emits its error only when it gets one
    };
    const onTimeout = (): void => fail(Object.assign(new Error("nothing moved"), { code: "ETIMEDOUT" }));
    const stopTimer = connectTimeoutMs === undefined ? () => {} : systemClock.after(connectTimeoutMs, onTimeout);
    request.on("socket", (socket) => {
      if (socket.connecting) socket.once("connect", stopTimer);
      else stopTimer();
      if (headers.range !== undefined && !isStreamed) SocketReads.of(socket)?.expectRange();
    });
    request.on("response", (response) => {
      noteBypass(response);
      resolve(response);
    });
    request.on("error", reject);
    request.on("timeout", onTimeout);
    request.on("close", cleanUp);
    removeAbort = whenAborted(signal, () => fail(new Error("aborted")));
    request.end();
  });
}

/** Opens a connection for an agent. */
type Connect = (
  options: ClientRequestArgs,
  callback?: (error: Error | null, stream: Duplex) => void,
) => Duplex | null | undefined;

/** The longest head of an answer. Objects with the longest headers that stores accept, and a proxy's own, have less. */
const MAX_HEAD_BYTES = 64 << 10;

/** An agent for HTTP with at most `maxConnections` connections, which are kept alive; further requests wait for one. */
export function originHttpAgent(maxConnections: number, way: Way): HttpAgent {
  const agent = new HttpAgent(optionsFor(maxConnections));
  sendToProxies(agent, way);
  return withLongHeads(withSocketReads(agent, "http:", way));
}

/** The same for HTTPS. A connection through a proxy is a tunnel, whose bodies go through the HTTP parser. */
export function originHttpsAgent(maxConnections: number, way: Way): HttpsAgent {
  const { secureContext } = way;
  const agent = new HttpsAgent({ ...optionsFor(maxConnections), ...(secureContext !== undefined && { secureContext }) });
  return withLongHeads(withSocketReads(agent, "https:", way));
}

/** Has an agent accept longer heads than Node's 16 KiB. The SDK has no option for it. */
export function withLongHeads<Agent extends HttpAgent>(agent: Agent): Agent {
  type WithAddRequest = { addRequest(request: ClientRequest, ...rest: unknown[]): void };
  const addRequest = (agent as unknown as WithAddRequest).addRequest.bind(agent);
  const withLimit: WithAddRequest["addRequest"] = (request, ...rest) =>
    addRequest(Object.assign(request, { maxHeaderSize: MAX_HEAD_BYTES }), ...rest);
  return Object.assign(agent, { addRequest: withLimit });
}

function optionsFor(maxConnections: number) {
  return { keepAlive: true, maxSockets: maxConnections, scheduling: "lifo" } as const;
}

/**
 * Reads each connection into one reused buffer, by SocketReads. Measured: it saves a quarter of the CPU time of reading, and two
 * thirds if bodies bypass the parser.
 */
function withSocketReads<Agent extends HttpAgent>(agent: Agent, protocol: "http:" | "https:", { proxyOf }: Way): Agent {
  const connect: Connect = agent.createConnection.bind(agent) as Connect;
  const createConnection: Connect = (options, callback) => {
    const target = new URL(`${protocol}//${isIPv6(String(options.host)) ? `[${options.host}]` : options.host}:${options.port}`);
    const proxy = proxyOf(target);
    if (proxy !== undefined && (protocol === "https:" || proxy.protocol === "https:")) {
      connectByProxy({ proxy, target, options, connect: protocol === "https:" ? connect : undefined, callback: callback! });
      return undefined;
    }
    const reads = new SocketReads();
    const to = proxy === undefined ? options : { ...options, host: hostOf(proxy), port: portOf(proxy) };
    const socket = connect({ ...to, onread: reads } as ClientRequestArgs, callback) as Socket;
    limitConnecting(socket);
    reads.socket = socket;
    return socket;
  };
  return Object.assign(agent, { createConnection });
}

/**
 * Enough for a lost packet, which the kernel sends again after a second. An origin behind a network that drops packets is noticed by
 * this timeout.
 */
const CONNECT_TIMEOUT_MS = 3_000;

function limitConnecting(socket: Socket): void {
  const cancel = systemClock.after(CONNECT_TIMEOUT_MS, () => {
    socket.destroy(Object.assign(new Error(`no connection in ${CONNECT_TIMEOUT_MS} ms`), { code: "ETIMEDOUT" }));
  });
  socket.once("connect", cancel);
  socket.once("close", cancel);
}

interface ByProxy {
  readonly proxy: URL;
  readonly target: URL;
  readonly options: ClientRequestArgs;
  /** Begins TLS with the target in the tunnel; undefined: plain HTTP to a proxy that speaks TLS itself. */
  readonly connect: Connect | undefined;
  readonly callback: (error: Error | null, stream: Duplex) => void;
}

function connectByProxy({ proxy, target, options, connect, callback }: ByProxy): void {
  if (connect === undefined) {
    const socket = connectTls({
      host: hostOf(proxy),
      port: Number(portOf(proxy)),
      servername: isIP(hostOf(proxy)) ? "" : hostOf(proxy),
    });
    callback(null, socket);
    return;
  }
  tunnel(proxy, target, (error, socket) => {
    if (error !== null) callback(error, undefined as unknown as Duplex);
    else callback(null, connect({ ...options, socket } as ClientRequestArgs) as Duplex);
  });
}
