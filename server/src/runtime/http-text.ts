import { once } from "node:events";
import { type IncomingMessage, request as plainRequest } from "node:http";
import { type RequestOptions, request as tlsRequest } from "node:https";

/** One GET, over a connection of its own unless `options` name an agent. */
export interface TextRequest {
  readonly url: URL | string;
  /** TLS keys, headers and whatever else differs from a plain GET. */
  readonly options?: Omit<RequestOptions, "signal" | "timeout" | "method"> | undefined;
  /** For the whole request, its body included. */
  readonly timeoutMs: number;
  /** A longer body fails the request. */
  readonly maxBytes: number;
  /** Aborts the request. Each request leaves a few bytes at a signal that lives on. */
  readonly signal?: AbortSignal | undefined;
}

/** Sends one GET and reads its body, in bounded time and memory. Rejects with the system's
 * error, the signal's reason, a TimeoutError, or if the body is too long. */
export async function getText(request: TextRequest): Promise<{ readonly status: number; readonly text: string }> {
  const { url, options, timeoutMs, maxBytes, signal } = request;
  const timeout = AbortSignal.timeout(timeoutMs);
  const ends = signal === undefined ? timeout : AbortSignal.any([signal, timeout]);
  const target = new URL(url);
  const send = target.protocol === "https:" ? tlsRequest : plainRequest;
  const sent = send(target, { agent: false, ...options, signal: ends });
  try {
    const [response] = (await once(sent.end(), "response")) as [IncomingMessage];
    return { status: response.statusCode ?? 0, text: await boundedText(response, maxBytes, "reject") };
  } catch (error) {
    throw ends.aborted ? ends.reason : error; // a body that is aborted fails with a reset
  }
}

/** The text of a body. If the body is longer than `maxBytes`, drops its connection and returns the start (`cut`) or rejects. */
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
