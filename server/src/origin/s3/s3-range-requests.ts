import type { Agent as HttpAgent, IncomingHttpHeaders } from "node:http";
import type { Agent as HttpsAgent } from "node:https";
import type { NodeHttpHandler } from "@smithy/node-http-handler";
import { httpGet } from "../http/http-get.js";

type Request = Parameters<NodeHttpHandler["handle"]>[0];
type RequestOptions = Parameters<NodeHttpHandler["handle"]>[1];
type Answered = Awaited<ReturnType<NodeHttpHandler["handle"]>>;

/** How requests are sent. All on the same agents. */
export interface S3RangeRequestsOptions {
  /** Sends all requests that are not GETs of a range. */
  readonly others: NodeHttpHandler;
  readonly httpAgent: HttpAgent;
  readonly httpsAgent: HttpsAgent;
  /** Timeout of opening a connection, or of waiting for a free one. */
  readonly connectTimeoutMs: number;
  /** Timeout of a connection on which nothing moves, before and in the body. */
  readonly idleTimeoutMs: number;
}

/** The SDK's request handler. Sends requests for a range of an object by `httpGet`, whose bodies may bypass the HTTP parser. */
export class S3RangeRequests {
  readonly metadata = { handlerProtocol: "http/1.1" };

  readonly httpAgent: HttpAgent;
  readonly httpsAgent: HttpsAgent;
  readonly #options: S3RangeRequestsOptions;

  constructor(options: S3RangeRequestsOptions) {
    this.httpAgent = options.httpAgent;
    this.httpsAgent = options.httpsAgent;
    this.#options = options;
  }

  /** Called by the SDK. Rejects with the system's errors, which the SDK passes on. */
  async handle(request: Request, requestOptions?: RequestOptions): Promise<Answered> {
    const { others, httpAgent, httpsAgent, connectTimeoutMs, idleTimeoutMs } = this.#options;
    if (request.method !== "GET" || request.headers.range === undefined) return others.handle(request, requestOptions);
    const { protocol, hostname, port, path, query, headers } = request;
    const base = new URL(`${protocol}//${hostname}${port === undefined ? "" : `:${port}`}`);
    const agent = protocol === "https:" ? httpsAgent : httpAgent;
    const get = { base, path: path + queryOf(query), headers, agent, connectTimeoutMs, idleTimeoutMs };
    const signal = requestOptions?.abortSignal as AbortSignal | undefined;
    const response = await httpGet(get, signal ?? new AbortController().signal);
    const { statusCode = 0, statusMessage: reason = "" } = response;
    return { response: { statusCode, reason, headers: plain(response.headers), body: response } };
  }

  /** Closes all connections. */
  destroy(): void {
    const { others, httpAgent, httpsAgent } = this.#options;
    others.destroy(); // knows its agents only once it was used
    httpAgent.destroy();
    httpsAgent.destroy();
  }

  // The rest of the SDK's interface of a handler.

  updateHttpClientConfig(...change: Parameters<NodeHttpHandler["updateHttpClientConfig"]>): void {
    this.#options.others.updateHttpClientConfig(...change);
  }

  httpHandlerConfigs(): ReturnType<NodeHttpHandler["httpHandlerConfigs"]> {
    return this.#options.others.httpHandlerConfigs();
  }
}

/** The query as it was signed: names and values escaped as in RFC 3986. */
function queryOf(query: Request["query"]): string {
  const pairs = Object.entries(query ?? {}).flatMap(([name, value]) =>
    [value].flat().map((one) => (one === null ? escaped(name) : `${escaped(name)}=${escaped(one)}`)),
  );
  return pairs.length === 0 ? "" : `?${pairs.join("&")}`;
}

function escaped(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
}

function plain(headers: IncomingHttpHeaders): Record<string, string> {
  const values = Object.entries(headers).map(([name, value]) => [name, [value].flat().join(", ")]);
  return Object.fromEntries(values) as Record<string, string>;
}
