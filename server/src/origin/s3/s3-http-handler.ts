import type { S3ClientConfig } from "@aws-sdk/client-s3";
import type { HttpClient } from "@frontcache/client/http";
import { BodyStream } from "../http/body-stream.js";

/** The SDK's interface of a handler. */
type Handler = Extract<S3ClientConfig["requestHandler"], { handle: unknown }>;
type Request = Parameters<Handler["handle"]>[0];
type RequestOptions = Parameters<Handler["handle"]>[1];
type Answered = Awaited<ReturnType<Handler["handle"]>>;

const NEVER = new AbortController().signal;

/** The SDK's request handler: sends its requests by this member's HTTP client. */
export class S3HttpHandler {
  readonly metadata = { handlerProtocol: "http/1.1" };
  readonly #client: HttpClient;

  constructor(client: HttpClient) {
    this.#client = client;
  }

  /** Called by the SDK. Rejects with the errors of the client, which the SDK passes on. The body of the answer is a BodyStream. */
  async handle(request: Request, requestOptions?: RequestOptions): Promise<Answered> {
    const { method, protocol, hostname, port, path, query, headers } = request;
    const target = `${protocol}//${hostname}${port === undefined ? "" : `:${port}`}`;
    const body = bytesOf(request.body);
    const signal = (requestOptions?.abortSignal as AbortSignal | undefined) ?? NEVER;
    const sent = { method, target, path: path + queryOf(query), headers, body };
    const { status, head, body: received } = await this.#client.send(sent, signal);
    const response = { statusCode: status, reason: "", headers: { ...head.toRecord() }, body: new BodyStream(received) };
    return { response };
  }

  // The rest of the SDK's interface of a handler.

  /** Called for each of the SDK's clients, which share the connections: their owner closes them. */
  destroy(): void {}

  updateHttpClientConfig(): void {}

  httpHandlerConfigs(): Record<string, never> {
    return {};
  }
}

/** The body of a request, which for reads is short or missing. */
function bytesOf(body: unknown): Uint8Array | undefined {
  if (body === undefined || body === null || body === "") return undefined;
  if (typeof body === "string") return Buffer.from(body);
  if (body instanceof Uint8Array) return body;
  throw new TypeError("a request's body is neither text nor bytes");
}

/** The query as it was signed: names and values escaped as in RFC 3986. */
function queryOf(query: Request["query"]): string {
  const parameters = Object.entries(query ?? {}) as [string, string | string[] | null][];
  const pairs = parameters.flatMap(([name, value]) =>
    [value].flat().map((one) => (one === null ? escaped(name) : `${escaped(name)}=${escaped(one)}`)),
  );
  return pairs.length === 0 ? "" : `?${pairs.join("&")}`;
}

function escaped(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
}
