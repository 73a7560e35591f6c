import { once } from "node:events";
import { type IncomingMessage, request as plainRequest } from "node:http";
import { type RequestOptions, request as tlsRequest } from "node:https";

/** One GET, or a POST if there is a body. It uses its own connection unless `options` contain an agent. Redirects are not followed. */
export interface TextRequest {
  readonly url: URL | string;
  /** TLS options, headers and other options of the request. */
  readonly options?: Omit<RequestOptions, "signal" | "timeout" | "method"> | undefined;
  /** The body of a POST; undefined: a GET. */
  readonly body?: string | undefined;
  /** Timeout of the whole request, including its body. */
  readonly timeoutMs: number;
  /** A longer body fails the request. */
  readonly maxBytes: number;
  /** Aborts the request. Each request leaks a few bytes at a long-lived signal. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Sends one request and reads the response's body, in bounded time and memory. Rejects with the system's error, the signal's reason, a
 * TimeoutError, or if the body is too long.
 */
export async function requestText(request: TextRequest): Promise<{ readonly status: number; readonly text: string }> {
  const { url, options, body, timeoutMs, maxBytes, signal } = request;
  const timeout = AbortSignal.timeout(timeoutMs);
  const ends = signal === undefined ? timeout : AbortSignal.any([signal, timeout]);
  const target = new URL(url);
  const send = target.protocol === "https:" ? tlsRequest : plainRequest;
  const sent = send(target, { agent: false, ...options, method: body === undefined ? "GET" : "POST", signal: ends });
  try {
    const [response] = (await once(sent.end(body), "response")) as [IncomingMessage];
    return { status: response.statusCode ?? 0, text: await boundedText(response, maxBytes, "reject") };
  } catch (error) {
    throw ends.aborted ? ends.reason : error; // a body that is aborted fails with a reset
  }
}

/** Reads a body as text. If it is longer than `maxBytes`, drops its connection, and returns the start (`cut`) or rejects. */
export async function boundedText(response: IncomingMessage, maxBytes: number, excess: "cut" | "reject"): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes <= maxBytes) continue;
    if (excess === "reject") throw new Error(`the answer has more than ${maxBytes} bytes`);
    break;
  }
  return Buffer.concat(chunks).subarray(0, maxBytes).toString();
}
