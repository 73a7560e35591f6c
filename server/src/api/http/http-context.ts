import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import type { Clock } from "../../runtime/clock.js";
import type { Log } from "../../runtime/log.js";
import type { ConnectionAuthentication } from "../../security/connection-authentication.js";
import type { FailureCount, ListenerName } from "../../security/failure-count.js";
import type { Authorization } from "../../security/grants/authorization.js";
import type { Principal, RequestSource } from "../../security/principal.js";
import type { SessionSignatures } from "../../security/session-signatures.js";
import type { ChunkSignatures } from "../../security/signatures/signer.js";
import type { Client } from "../limits/clients.js";
import type { ErrorResponse } from "../s3/error-response.js";
import type { RequestedRange } from "../s3/range-header.js";
import type { StrategyFor } from "../sending/send-strategy.js";
import type { Sink } from "../sending/sending.js";
import type { RepeatedRequest } from "./repeated-request.js";

/** The parts of a request that are used. Node's IncomingMessage has them. */
export interface Request {
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  readonly httpVersion: string;
  readonly headers: IncomingHttpHeaders;
  /** Names and values in turn, as sent. Absent: no header appears twice. */
  readonly rawHeaders?: readonly string[];
  /** It came in the form of frontcache's own clients and members. */
  readonly isPlain?: boolean;
  /** Its range, as `parseRange` returns it, if `repeated` is present. */
  readonly range?: RequestedRange | undefined;
  /** The request of the same connection that it repeats. Absent: none is known. */
  readonly repeated?: RepeatedRequest | undefined;
}

/** Headers that many responses share. */
export interface SharedHeaders {
  /** Names and values in turn. */
  readonly pairs: readonly string[];
  /** The first bytes of a head: the status line, and these headers. */
  leadOf(status: number): Buffer;
}

/** The destination of a response. Node's ServerResponse implements it. */
export interface Reply extends Sink {
  readonly headersSent: boolean;
  setHeader(name: "Connection", value: "close"): unknown;
  /** `headers` alternates names and values. They are sent with the first bytes, or at the end, behind those that are shared. */
  writeHead(status: number, headers: string[], shared?: SharedHeaders): unknown;
  /** Whether `writeHead` takes shared headers. Absent: no. */
  readonly takesShared?: boolean;
  /** `close`: the whole response was sent, or the connection is closed. */
  on(event: "close", listener: () => void): unknown;
}

/** The listeners that speak HTTP/1.1. */
export type HttpListenerName = Exclude<ListenerName, "grpc">;

/** The body of a request, which is read by whoever takes the request for a write. */
export interface Upload {
  readonly body: IncomingMessage;
  /** Has the client send the body, if it waits for that (`Expect: 100-continue`). */
  readonly proceed: (() => void) | undefined;
  /** The signatures of the body's chunks. Returns undefined if nobody verified the signature of the head. */
  signatures(): ChunkSignatures | undefined;
  /** Signs the addresses of upload sessions. Absent: they are not signed. */
  readonly sessions?: SessionSignatures | undefined;
}

/** A form of errors other than S3's. */
export interface ErrorForm {
  readonly contentType: string;
  /** The body of an error. */
  write(error: ErrorResponse): string;
  /** Changes the error before it is sent. */
  change?(error: ErrorResponse): ErrorResponse;
}

/** A request, its response, and the collaborators for answering it. */
export interface HttpContext {
  readonly request: Request;
  /** Identifies the request in its response and in the log. */
  readonly requestId: string;
  readonly response: Reply;
  /** Authenticates the client. Unauthenticated clients get only answers to probes. */
  readonly authentication: Pick<ConnectionAuthentication, "known" | "authenticate" | "authenticateForm" | "acceptsPasswords">;
  readonly authenticationFailures: FailureCount;
  /** The listener that received the request. */
  readonly listener: HttpListenerName;
  /** Counts requests that only members may send, from other callers. */
  readonly refusals: FailureCount;
  /** Who makes the request. ANONYMOUS until that is known. */
  principal: Principal;
  /** The client whose limits apply. */
  readonly client: Client;
  /** How bytes are sent on this connection. */
  readonly strategyFor: StrategyFor;
  /** Aborted when the client disconnects. It belongs to the connection, so listeners must be removed from it. */
  readonly signal: AbortSignal;
  /** Calls back once, when the response was sent or can no longer be sent. Only one callback is supported. */
  whenClosed(onClosed: () => void): void;
  /** Absent: this listener takes no writes. */
  readonly upload?: Upload | undefined;
  /** Decides about single objects of a request. Absent before the principal is known. */
  authorization?: Authorization | undefined;
  /** The form of errors. Absent: S3's document. */
  errorForm?: ErrorForm | undefined;
  readonly clock: Clock;
  readonly log: Log;
}

/** Where a request came from, for the audit log. */
export function sourceOf({ listener, client, requestId }: HttpContext): RequestSource {
  return { listener, address: client.address, requestId };
}
