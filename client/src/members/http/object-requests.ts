import {
  CacheError,
  ERROR_HEADER,
  type ErrorCode,
  type ErrorKind,
  errorTable,
  OUTCOME_HEADER,
  s3CodeOf,
  TRIED_HEADER,
} from "@frontcache/proto";
import { chunkedPieces } from "../../http/chunked-pieces.js";
import { ConnectTimeout } from "../../http/connection.js";
import { ConnectionPool } from "../../http/connection-pool.js";
import { Exchange, type ExchangeScope } from "../../http/exchange.js";
import { bodyBytes, type HttpResponse } from "../../http/http-response.js";
import type { ResponseHead } from "../../http/response-head.js";
import { hostHeaderOf } from "../../http/sockets.js";
import { Timeouts } from "../../http/timeouts.js";
import type { Access } from "../access.js";
import type { Clock } from "../clock.js";
import { ConnectionFailure, reasonOf } from "../connection-failure.js";
import { type CallLimits, type MemberAddress, Unreachable } from "../ports.js";
import { MAX_HEAD_BYTES, Unintelligible } from "./answer-head.js";
import { memberConnection } from "./http-transport.js";
import { textOf } from "./xml-text.js";

/** A request in S3's dialect that a member's HTTP listener answers: a write, or a listing. */
export interface ObjectRequest {
  readonly method: "GET" | "HEAD" | "PUT" | "POST" | "DELETE";
  /** The URL of what it is about, for messages. */
  readonly subject: string;
  /** Path and query, escaped. */
  readonly path: string;
  /** Undefined values are left out. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  /** Absent: none, or `bodyPieces`. */
  readonly body?: Uint8Array | undefined;
  /** A body that is sent as it is made. The headers contain its length, unless it is chunked. Absent: none. */
  readonly bodyPieces?: AsyncIterable<Uint8Array> | undefined;
  /** The length of `bodyPieces` is not known: they are sent in chunks. Absent: no. */
  readonly isChunked?: boolean | undefined;
  /** Whether it does the same twice as once. */
  readonly isRepeatable: boolean;
}

/** A successful response. */
export interface ObjectResponse {
  readonly head: ResponseHead;
  /** The document. */
  readonly text: string;
}

/** The port of requests in S3's dialect to members. */
export interface ObjectRequests {
  /**
   * Sends one request. Rejects with the member's error; with NotSent, Unreachable or OutcomeUnknown if it could not
   * be sent, or the connection was lost.
   */
  send(address: MemberAddress, request: ObjectRequest, limits: CallLimits): Promise<ObjectResponse>;
  /** Sends one request, and resolves with its response, of any status, when its head has arrived. Rejects as `send`. */
  exchange(address: MemberAddress, request: ObjectRequest, limits: CallLimits): Promise<HttpResponse>;
  /** Closes all connections; requests must have ended. */
  close(): Promise<void>;
}

/** The member could not be reached, so it has not seen the request. */
export class NotSent extends Unreachable {}

/** Whether the object store has done what was requested is not known. */
export class OutcomeUnknown extends CacheError {
  constructor(message: string, options: { cause?: unknown } = {}) {
    super("UNAVAILABLE", message, options);
  }
}

export interface ObjectRequestsOptions {
  readonly clock: Clock;
  readonly connectTimeoutMs: number;
  readonly access: Access;
  /** Maximum connections to one member; further requests wait in order. */
  readonly mostConnections: number;
  /** Idle timeout of connections, milliseconds. */
  readonly idleMs: number;
}

/** The longest document: a thousand of the longest keys, escaped. */
const MAX_DOCUMENT_BYTES = 8 << 20;

/** Systems' codes of connections that were never established. */
const NOT_CONNECTED: ReadonlySet<unknown> = new Set([
  "ECONNREFUSED",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOTFOUND",
  "EAI_AGAIN",
  "ENOENT",
]);

/** Sends requests to members over HTTP/1.1, on connections of its own, so that long bodies do not delay reads. */
export class HttpObjectRequests implements ObjectRequests {
  readonly #options: ObjectRequestsOptions;
  readonly #scopes = new Map<string, ExchangeScope>();
  readonly #stalls: Timeouts;

  constructor(options: ObjectRequestsOptions) {
    this.#options = options;
    // A request waits until its deadline for what the object store does. The bytes of its response follow at once.
    this.#stalls = new Timeouts(options.clock, options.idleMs);
  }

  send(address: MemberAddress, request: ObjectRequest, limits: CallLimits): Promise<ObjectResponse> {
    return this.#run(address, request, limits, async (response, exchanged) => {
      const text = (await bodyBytes(response.body, MAX_DOCUMENT_BYTES, "reject")).toString("utf8");
      return checked(response, text, exchanged);
    });
  }

  exchange(address: MemberAddress, request: ObjectRequest, limits: CallLimits): Promise<HttpResponse> {
    return this.#run(address, request, limits, async (response) => response);
  }

  async #run<Result>(
    address: MemberAddress,
    request: ObjectRequest,
    limits: CallLimits,
    read: (response: HttpResponse, exchanged: Exchanged) => Promise<Result>,
  ): Promise<Result> {
    const { httpAddress } = address;
    const { subject, body } = request;
    if (limits.ended !== undefined) throw limits.ended;
    if (httpAddress === undefined) {
      throw new NotSent(`${subject}: member ${address.grpcAddress} has no HTTP listener, which writes and listings need`);
    }
    const head = requestLines(request, hostHeaderOf(httpAddress), this.#options.access.authorization());
    // Repeated on a new connection if the member had closed a kept one.
    const mayRepeat = request.isRepeatable ? () => true : undefined;
    const { bodyPieces: pieces, isChunked = false } = request;
    const bodyPieces = pieces !== undefined && isChunked ? chunkedPieces(pieces) : pieces;
    const wire = { head, body, bodyPieces, waitsForHead: true, mayRepeat, isHead: request.method === "HEAD" };
    try {
      const response = await Exchange.run(wire, this.#scopeOf(httpAddress), limits.signal);
      return await read(response, { subject, member: httpAddress });
    } catch (error) {
      if (limits.ended !== undefined) throw limits.ended;
      throw error instanceof CacheError ? error : lost(error, { subject, member: httpAddress });
    }
  }

  async close(): Promise<void> {
    const cause = new CacheError("CANCELLED", "the connections were closed");
    for (const { pool } of this.#scopes.values()) pool.close(cause);
    this.#scopes.clear();
    this.#stalls.close();
  }

  #scopeOf(httpAddress: string): ExchangeScope {
    let scope = this.#scopes.get(httpAddress);
    if (scope === undefined) {
      for (const [other, { pool }] of this.#scopes) if (pool.size === 0) this.#scopes.delete(other);
      const { clock, connectTimeoutMs, mostConnections, idleMs, access } = this.#options;
      const setUp = () => memberConnection(httpAddress, access);
      const pool = new ConnectionPool({ clock, connectTimeoutMs, setUp, mostConnections, idleMs });
      scope = { pool, maxHeadBytes: MAX_HEAD_BYTES, waits: undefined, stalls: this.#stalls };
      this.#scopes.set(httpAddress, scope);
    }
    return scope;
  }
}

function requestLines(
  { method, path, headers, body, bodyPieces, isChunked = false }: ObjectRequest,
  host: string,
  authorization: string | undefined,
): string {
  let lines = `${method} ${path} HTTP/1.1\r\nHost: ${host}\r\n`;
  if (authorization !== undefined) lines += `Authorization: ${authorization}\r\n`;
  for (const [name, value] of Object.entries(headers)) if (value !== undefined) lines += `${name}: ${value}\r\n`;
  if (isChunked) lines += "Transfer-Encoding: chunked\r\n";
  if (method !== "GET" && method !== "HEAD" && bodyPieces === undefined) lines += `Content-Length: ${body?.length ?? 0}\r\n`;
  return `${lines}\r\n`;
}

interface Exchanged {
  readonly subject: string;
  /** `host:port` of the member's HTTP listener. */
  readonly member: string;
}

/** Returns a successful response. Throws the error of any other, also of one that says 200 before the outcome was known. */
function checked({ status, head }: HttpResponse, text: string, { subject, member }: Exchanged): ObjectResponse {
  const s3Code = IS_ERROR.test(text) ? textOf(text, "Code") : undefined;
  if (status < 300 && s3Code === undefined) return { head, text };
  const code = errorCodeOf(status, head.header(ERROR_HEADER), s3Code);
  if (code === undefined) throw new Unintelligible(`${subject}: ${member} answered ${status}, not as a member does`);
  const reason = (s3Code === undefined ? undefined : textOf(text, "Message")) ?? s3Code ?? code;
  const message = reason.includes(subject) ? reason : `${subject}: ${reason}`;
  if (head.header(OUTCOME_HEADER) === "unknown") throw new OutcomeUnknown(message);
  const isOriginTried = head.header(TRIED_HEADER) === "1";
  // A member that starts or shuts down has not sent the request on.
  if (code === "UNAVAILABLE" && !head.keepAlive && !isOriginTried) throw new NotSent(message);
  throw new CacheError(code, message, { isOriginTried, s3Code: s3CodeOf(s3Code) });
}

const IS_ERROR = /^(?:<\?xml[^>]*>)?\s*<Error>/;

/** Members pass the object store's own errors of writes on, which have no code of frontcache. Undefined: it is no error of either. */
function errorCodeOf(status: number, own: string | undefined, s3Code: string | undefined): ErrorCode | undefined {
  if (own !== undefined && own in errorTable) return own as ErrorCode;
  if (s3Code === undefined) return undefined;
  const kinds = Object.entries(errorTable) as [ErrorCode, ErrorKind][];
  const named = kinds.filter(([, { s3 }]) => s3 === s3Code);
  const known = named.find(([, { http }]) => http === status) ?? named[0] ?? kinds.find(([, { http }]) => http === status);
  if (known !== undefined) return known[0];
  return status === 409 ? "FAILED_PRECONDITION" : status >= 400 && status < 500 ? "INVALID_ARGUMENT" : "UNAVAILABLE";
}

/** The error of a request whose connection failed. */
function lost(cause: unknown, { subject, member }: Exchanged): CacheError {
  const isNotSent = cause instanceof ConnectTimeout || NOT_CONNECTED.has((cause as NodeJS.ErrnoException).code);
  if (!isNotSent) return new Unreachable(`${subject}: member ${member} is unreachable: ${reasonOf(cause)}`, { cause });
  const failure = ConnectionFailure.of(member, cause);
  return new NotSent(`${subject}: member ${member} is unreachable: ${failure.message}`, { cause: failure });
}
