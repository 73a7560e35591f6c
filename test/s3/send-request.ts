import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";

/** A response with its whole body, in Latin-1. */
export interface PlainAnswer {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

/** Sends a request on a connection of its own. The body is exactly these pieces; with `expect`, it waits for the server's consent. */
export async function sendRequest(
  url: string,
  method: string,
  headers: Readonly<Record<string, string>> = {},
  pieces: readonly (string | Buffer)[] = [],
): Promise<PlainAnswer> {
  const sent = request(url, { method, headers, agent: false });
  sent.on("error", () => {}); // the server may close the connection behind its answer
  const answered = once(sent, "response") as Promise<[IncomingMessage]>;
  const sendBody = (): void => {
    const last = pieces.at(-1);
    for (const piece of pieces.slice(0, -1)) sent.write(piece);
    sent.end(last);
  };
  if (headers.expect === undefined) sendBody();
  else {
    sent.on("continue", sendBody);
    sent.flushHeaders();
  }
  const [response] = await answered;
  let body = "";
  for await (const chunk of response.setEncoding("latin1")) body += chunk;
  return { status: response.statusCode!, headers: response.headers, body };
}
