import type { IncomingHttpHeaders } from "node:http";
import type { Sink } from "../sending/sending.js";

/** What the gateway looks at in a request. Node's IncomingMessage is one. */
export interface Request {
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  readonly httpVersion: string;
  readonly headers: IncomingHttpHeaders;
}

/** What an answer is written to. Node's ServerResponse is one. */
export interface Reply extends Sink {
  readonly headersSent: boolean;
  setHeader(name: "Connection", value: "close"): unknown;
  /** `headers`: names and values in turn. It leaves with the first bytes, or the end. */
  writeHead(status: number, headers: string[]): unknown;
  /** `close`: all of it was sent, or the connection is closed. */
  on(event: "close", listener: () => void): unknown;
}
