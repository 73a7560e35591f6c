import { once } from "node:events";
import * as http from "node:http";
import * as https from "node:https";
import type { KubeConfig } from "@kubernetes/client-node";
import type { Clock } from "../runtime/clock.js";
import { boundedText } from "../runtime/http-text.js";

/** The API's own refusal, as an answer's status or as an event of a watch. */
export class KubeApiError extends Error {
  override readonly name = "KubeApiError";

  constructor(
    /** The HTTP status, or the code of the API's Status object. 410: what was asked for is not remembered any more. */
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** One GET of the API. */
export interface ApiRequest {
  readonly config: KubeConfig;
  /** From `/api/` on, with its query. */
  readonly path: string;
  readonly clock: Clock;
  /** The longest wait for the answer's head and, unless `body` is `quiet`, for each piece of its body. */
  readonly idleMs: number;
  /** `quiet`: the body may pause as long as it likes, as a watch's does. */
  readonly body: "steady" | "quiet";
  readonly signal: AbortSignal;
}

const KEEP_ALIVE_MS = 10_000;
const MAX_REFUSAL_BYTES = 4096;

/**
 * The body of an answer, piece by piece. Throws KubeApiError for any status but 200, other errors where the API is out of
 * reach or the body is cut short. The connection ends with the iteration.
 */
export async function* apiChunks(wanted: ApiRequest): AsyncGenerator<Buffer> {
  const { request, answered, agent } = await send(wanted);
  const idle = new IdleLimit(wanted, request);
  try {
    const [response] = await answered;
    if (response.statusCode !== 200) throw await refusal(response);
    if (wanted.body === "quiet") idle.end();
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

async function send({ config, path, signal }: ApiRequest): Promise<Sent> {
  const options: https.RequestOptions = { headers: { accept: "application/json" } };
  // Credentials are read anew where they are files: service account tokens are replaced every hour.
  await config.applyToHTTPSOptions(options);
  const url = new URL(config.getCurrentCluster()!.server + path);
  const request = (url.protocol === "http:" ? http : https).request(url, { ...options, method: "GET", signal });
  // Errors also come after the head, when nobody waits for the request but for its body; they are seen there.
  request.on("error", () => {});
  // A host that vanished is noticed although a watch is quiet.
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

/** The message of a Status object, else the text itself, on one line. */
function statusMessage(text: string): string {
  try {
    const { message } = JSON.parse(text) as { message?: unknown };
    if (typeof message === "string") return message.slice(0, 300);
  } catch {
    // Not the API's own words: a proxy's, perhaps.
  }
  return text.replace(/\s+/g, " ").slice(0, 300);
}

/** Cuts a request that has not moved for a while. */
class IdleLimit {
  error: Error | undefined;
  #cancel: (() => void) | undefined;

  constructor(
    private readonly wanted: ApiRequest,
    private readonly request: http.ClientRequest,
  ) {
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
    const { clock, idleMs } = this.wanted;
    this.#cancel = clock.after(idleMs, () => {
      this.error = new Error(`the Kubernetes API sent nothing for ${idleMs} ms`);
      this.request.destroy(this.error);
    });
  }
}
