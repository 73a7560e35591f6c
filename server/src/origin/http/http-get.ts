import { type Agent as HttpAgent, type IncomingMessage, type OutgoingHttpHeaders, request as requestHttp } from "node:http";
import { type Agent as HttpsAgent, request as requestHttps } from "node:https";
import { systemClock } from "../../runtime/clock.js";
import { originHttpAgent, originHttpsAgent } from "./origin-agents.js";
import { noteBypass, SocketReads } from "./socket-reads.js";

/** One HTTP server, by connections of its own that are kept alive. */
export interface HttpTarget {
  readonly base: URL;
  readonly agent: HttpAgent | HttpsAgent;
  /** For a connection on which nothing moves, while it comes about, before the head and in the body. */
  readonly idleTimeoutMs: number;
}

/** `endpoint` is `http(s)://host[:port][/prefix]`. Connections at most `maxConnections`; further requests wait for one. */
export function httpTarget(endpoint: string, maxConnections: number, idleTimeoutMs: number): HttpTarget {
  const base = new URL(endpoint);
  const agent = base.protocol === "https:" ? originHttpsAgent(maxConnections) : originHttpAgent(maxConnections);
  return { base, agent, idleTimeoutMs };
}

/** One GET. */
export interface HttpGet extends HttpTarget {
  /** Sent verbatim behind the base's own path. */
  readonly path: string;
  /** Names in lower case. */
  readonly headers: OutgoingHttpHeaders;
  /** For a connection to come about, or to become free; undefined: only the idle time-out counts. */
  readonly connectTimeoutMs: number | undefined;
}

/**
 * A GET's response as soon as its head is there. Aborts and time-outs end the body, too. The body of a range may pass by the
 * HTTP parser: it is to be brought by a SocketBody.
 */
export function httpGet(get: HttpGet, signal: AbortSignal): Promise<IncomingMessage> {
  const { base, path, headers, agent, connectTimeoutMs, idleTimeoutMs } = get;
  const send = base.protocol === "https:" ? requestHttps : requestHttp;
  return new Promise((resolve, reject) => {
    const request = send({
      agent,
      headers,
      hostname: base.hostname.replace(/^\[(.*)\]$/, "$1"),
      port: base.port,
      path: base.pathname.replace(/\/$/, "") + path,
      timeout: idleTimeoutMs,
    });
    const leave = (): void => {
      stopTimer();
      signal.removeEventListener("abort", onAbort);
    };
    const giveUp = (error: Error): void => {
      leave();
      request.destroy(error);
      reject(error); // a request that waits for a connection tells of its end only when it gets one
    };
    const onAbort = (): void => giveUp(new Error("aborted"));
    const onTimeout = (): void => giveUp(Object.assign(new Error("nothing moved"), { code: "ETIMEDOUT" }));
    const stopTimer = connectTimeoutMs === undefined ? () => {} : systemClock.after(connectTimeoutMs, onTimeout);
    request.on("socket", (socket) => {
      if (socket.connecting) socket.once("connect", stopTimer);
      else stopTimer();
      if (headers.range !== undefined) SocketReads.of(socket)?.expectRange();
    });
    request.on("response", (response) => {
      noteBypass(response);
      resolve(response);
    });
    request.on("error", reject);
    request.on("timeout", onTimeout);
    request.on("close", leave);
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
    request.end();
  });
}
