import { type Agent as HttpAgent, type IncomingMessage, type OutgoingHttpHeaders, request as requestHttp } from "node:http";
import { type Agent as HttpsAgent, request as requestHttps } from "node:https";
import { originHttpAgent, originHttpsAgent } from "./origin-agents.js";

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

/** A GET's response as soon as its head is there. `path` is sent verbatim. Aborts and time-outs end the body, too. */
export function httpGet(
  target: HttpTarget,
  path: string,
  headers: OutgoingHttpHeaders,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const { base, agent, idleTimeoutMs } = target;
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
    const onAbort = (): void => void request.destroy(new Error("aborted"));
    request.on("response", resolve);
    request.on("error", reject);
    request.on("timeout", () => request.destroy(Object.assign(new Error("nothing moved"), { code: "ETIMEDOUT" })));
    request.on("close", () => signal.removeEventListener("abort", onAbort));
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
    request.end();
  });
}

/** The text of a small body, at most `maxBytes` of it; a longer one is cut there and its connection dropped. */
export async function smallBody(response: IncomingMessage, maxBytes: number): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes >= maxBytes) break;
  }
  return Buffer.concat(chunks).subarray(0, maxBytes).toString();
}
