import type { IncomingHttpHeaders } from "node:http";
import type { Clock } from "../../runtime/clock.js";
import type { Log } from "../../runtime/log.js";
import type { ConnectionAuthentication } from "../../security/connection-authentication.js";
import type { FailureCount } from "../../security/failure-count.js";
import type { Principal } from "../../security/principal.js";
import type { Client } from "../limits/clients.js";
import type { Sink } from "../sending/sending.js";

/** The parts of a request that are used. Node's IncomingMessage has them. */
export interface Request {
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  readonly httpVersion: string;
  readonly headers: IncomingHttpHeaders;
  /** It came in the form of frontcache's own clients and members. */
  readonly isPlain?: boolean;
}

/** Where an answer is written to. Node's ServerResponse is one. */
export interface Reply extends Sink {
  readonly headersSent: boolean;
  setHeader(name: "Connection", value: "close"): unknown;
  /** `headers`: names and values in turn. They are sent with the first bytes, or at the end. */
  writeHead(status: number, headers: string[]): unknown;
  /** `close`: all of it was sent, or the connection is closed. */
  on(event: "close", listener: () => void): unknown;
}

/** One request, its response, and everything that answering it needs. */
export interface HttpContext {
  readonly request: Request;
  /** Names the request in its response and in the log. */
  readonly requestId: string;
  readonly response: Reply;
  /** Authenticates the client. Unauthenticated clients get answers to probes only. */
  readonly authentication: Pick<ConnectionAuthentication, "accepts" | "tokenSuffices">;
  readonly authenticationFailures: FailureCount;
  /** Requests of members' kind that others made. */
  readonly refusals: FailureCount;
  /** On whose behalf the cache is asked. */
  readonly principal: Principal;
  /** Whose limits apply. */
  readonly client: Client;
  /** Whether the connection is by TLS. */
  readonly encrypted: boolean;
  /** Aborted when the client is gone. It belongs to the connection: listeners must be taken off it again. */
  readonly signal: AbortSignal;
  /** Calls back once, when the answer is sent or can't be sent any more. One listener. */
  whenClosed(onClosed: () => void): void;
  readonly clock: Clock;
  readonly log: Log;
}
