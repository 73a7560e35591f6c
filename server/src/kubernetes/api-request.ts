import { once } from "node:events";
import * as http from "node:http";
import * as https from "node:https";
import type { Clock } from "../runtime/clock.js";
import { boundedText } from "../runtime/http-text.js";
import type { KubeAccess } from "./kube-access.js";

/** An error that the API itself reports, by the status of a response or by an event of a watch. */
export class KubeApiError extends Error {
  override readonly name = "KubeApiError";

  /** The HTTP status, or the code of the API's Status object. 410: the requested resource version is no longer available. */
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** One GET of the API. */
export interface ApiRequest {
  readonly access: KubeAccess;
  /** The path, starting with `/api/`, with its query. */
  readonly path: string;
  readonly clock: Clock;
  /** Timeout of the response's head and, unless `body` is `quiet`, of each chunk of its body. */
  readonly idleMs: number;
  /** `quiet`: the body may pause for any time, as in a watch. */
  readonly body: "steady" | "quiet";
  readonly signal: AbortSignal;
}

const KEEP_ALIVE_MS = 10_000;
const MAX_REFUSAL_BYTES = 4096;

/**
 * Yields the body of a response in chunks. Throws KubeApiError for any status but 200, other errors if the API is unreachable or
 * the body is truncated. The connection is closed when the iteration ends.
 */
export async function* apiChunks(asked: ApiRequest): AsyncGenerator<Buffer> {
  const { request, answered, agent } = await send(asked);
  const idle = new IdleLimit(asked, request);
  try {
    const [response] = await answered;
    if (response.statusCode !== 200) throw await refusal(response);
    if (asked.body === "quiet") idle.end();
    for await (const chunk of response as AsyncIterable<Buffer>) {
      idle.moved();
      yield chunk;
    }
  } catch (error) {
    throw idle.error ?? error;
  } finally {
    idle.end();
    request.destroy();
    agent.destroy();
  }
}

interface Sent {
  readonly request: http.ClientRequest;
  readonly answered: Promise<[http.IncomingMessage]>;
  readonly agent: http.Agent;
}

async function send({ access, path, signal }: ApiRequest): Promise<Sent> {
  const options: https.RequestOptions = { headers: { accept: "application/json" } };
  await access.authorize(options);
  const url = new URL(access.server + path);
  const request = (url.protocol === "http:" ? http : https).request(url, { ...options, method: "GET", signal });
  // An error after the head also destroys the response; the reader of its body receives the error.
  request.on("error", () => {});
  // Detects a host that vanished while a watch is quiet.
  request.on("socket", (socket) => socket.setKeepAlive(true, KEEP_ALIVE_MS));
  const answered = once(request, "response") as Promise<[http.IncomingMessage]>;
  answered.catch(() => {});
  request.end();
  return { request, answered, agent: options.agent as http.Agent };
}

async function refusal(response: http.IncomingMessage): Promise<KubeApiError> {
  const text = await boundedText(response, MAX_REFUSAL_BYTES, "cut");
  const status = response.statusCode!;
  return new KubeApiError(status, `the Kubernetes API answered ${status}: ${statusMessage(text)}`);
}

/** The message of a Status object; for any other body, its beginning on one line. */
function statusMessage(text: string): string {
  try {
    const { message } = JSON.parse(text) as { message?: unknown };
    if (typeof message === "string") return message.slice(0, 300);
  } catch {
    // Not a Status object: perhaps a proxy's page.
  }
  return text.replace(/\s+/g, " ").slice(0, 300);
}

/** Destroys a request that makes no progress for a while. */
class IdleLimit {
  error: Error | undefined;
  readonly #limits: Pick<ApiRequest, "clock" | "idleMs">;
  readonly #request: http.ClientRequest;
  #cancel: (() => void) | undefined;

  constructor(limits: Pick<ApiRequest, "clock" | "idleMs">, request: http.ClientRequest) {
    this.#limits = limits;
    this.#request = request;
    this.#await();
  }

  moved(): void {
    if (this.#cancel === undefined) return;
    this.end();
    this.#await();
  }

  end(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  #await(): void {
    const { clock, idleMs } = this.#limits;
    this.#cancel = clock.after(idleMs, () => {
      this.error = new Error(`the Kubernetes API sent nothing for ${idleMs} ms`);
      this.#request.destroy(this.error);
    });
  }
}
