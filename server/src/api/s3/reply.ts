import type { IncomingHttpHeaders } from "node:http";

/** What the gateway looks at in a request. Node's IncomingMessage is one. */
export interface Request {
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  readonly httpVersion: string;
  readonly headers: IncomingHttpHeaders;
}

/** What an answer is written to. Node's ServerResponse is one. */
export interface Reply {
  readonly headersSent: boolean;
  setHeader(name: "Connection", value: "close"): unknown;
  /** `headers`: names and values in turn. It leaves with the first bytes, or the end. */
  writeHead(status: number, headers: string[]): unknown;
  /** `taken` is called when the kernel has the bytes, and never when it doesn't get them. */
  write(bytes: Buffer, taken: () => void): unknown;
  end(bytes?: Buffer): unknown;
  /** Cuts the connection off. */
  destroy(): unknown;
  /** `close`: all of it was sent, or the connection is closed. */
  on(event: "close", listener: () => void): unknown;
}
