import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import { CacheError } from "@frontcache/proto";
import { whenAborted } from "@frontcache/proto/runtime";
import { openSocket, socketAddress } from "../http/sockets.js";
import type { TlsOptions } from "./access.js";
import type { Clock } from "./clock.js";

/** The cause of a failed connection: "cannot connect to 10.0.0.7:8081: connection refused". */
export class ConnectionFailure extends Error {
  constructor(hostPort: string, why: string, cause?: unknown) {
    super(`cannot connect to ${hostPort}: ${why}`, { cause });
  }

  static of(hostPort: string, error: unknown): ConnectionFailure {
    return error instanceof ConnectionFailure ? error : new ConnectionFailure(hostPort, reasonOf(error), error);
  }
}

/** Returns whether a call failed because no process listens at the member's address: the member does not run. */
export function isRefused(error: unknown): boolean {
  const failure = error instanceof CacheError ? error.cause : error;
  const cause = failure instanceof ConnectionFailure ? failure.cause : undefined;
  return cause instanceof Error && "code" in cause && cause.code === "ECONNREFUSED";
}

/**
 * The code of the error because of which a member is unreachable: the socket's (`ECONNREFUSED`, `CERT_HAS_EXPIRED`), or `NO_ANSWER` if the
 * connection did not fail.
 */
export function unreachableCode(error: unknown): string {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (!(cause instanceof CacheError) && typeof code === "string") return code;
  }
  // grpc-js names the socket's error only in its text.
  const named = error instanceof Error ? /\bE[A-Z]{4,}\b/.exec(error.message)?.[0] : undefined;
  return named ?? "NO_ANSWER";
}

const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  ECONNRESET: "connection reset",
  EPIPE: "connection reset",
  ENOTFOUND: "name not resolved",
  EAI_AGAIN: "name not resolved (the DNS server does not answer)",
  ETIMEDOUT: "connection timed out",
  EHOSTUNREACH: "host unreachable",
  ENETUNREACH: "network unreachable",
  EADDRNOTAVAIL: "no local address or port is available",
  EMFILE: "too many open files in this process",
  CERT_HAS_EXPIRED: "certificate expired",
  CERT_NOT_YET_VALID: "certificate not yet valid",
  CERT_REVOKED: "certificate revoked",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "certificate signed by an unknown authority",
  UNABLE_TO_GET_ISSUER_CERT: "certificate signed by an unknown authority",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "certificate signed by an unknown authority",
  SELF_SIGNED_CERT_IN_CHAIN: "certificate signed by an unknown authority",
  DEPTH_ZERO_SELF_SIGNED_CERT: "certificate signed by an unknown authority (self-signed)",
  ERR_SSL_WRONG_VERSION_NUMBER: "the port does not speak TLS",
  ERR_SSL_PACKET_LENGTH_TOO_LONG: "the port does not speak TLS",
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: "the member requires a client certificate",
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: "the member does not know the authority of the client certificate",
  ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE: "the member refuses the client certificate",
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED: "the client certificate is expired",
  ERR_OSSL_PEM_NO_START_LINE: "a certificate or key is not in PEM",
  ERR_OSSL_X509_KEY_VALUES_MISMATCH: "the client certificate and its key do not belong together",
};

/** Of connections to Unix sockets. The same codes also occur with files of certificates, whose messages name the file. */
const SOCKET_REASONS: Readonly<Record<string, string>> = {
  ENOENT: "there is no such socket",
  EACCES: "this user may not connect to the socket",
};

/** Describes an error of a socket, without its address. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code, syscall, reason } = error as NodeJS.ErrnoException & { readonly reason?: string };
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") return `certificate for another name: ${reason ?? error.message}`;
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0]);
  if (code === undefined) return error.message;
  return (syscall === "connect" ? SOCKET_REASONS[code] : undefined) ?? REASONS[code] ?? error.message;
}

export interface CheckConnectionOptions {
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly tls: TlsOptions | undefined;
  readonly signal: AbortSignal;
}

/**
 * Resolves when `hostPort` accepts a connection, with TLS if `tls` is given, within `timeoutMs`. Rejects with a
 * ConnectionFailure, or with the signal's reason. The connection is closed again. It precedes each connection of gRPC for two
 * reasons: gRPC does not report causes, and its attempts cannot be aborted, so an address that drops all packets would
 * keep a socket, and the process, for two minutes.
 */
export function checkConnection(hostPort: string, options: CheckConnectionOptions): Promise<void> {
  const { clock, timeoutMs, tls, signal } = options;
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    let socket: Socket;
    try {
      socket = openSocket(socketAddress(hostPort), tls, { isDiagnosis: true });
    } catch (error) {
      return reject(ConnectionFailure.of(hostPort, error));
    }
    const settle = (then: () => void): void => {
      cancelTimer();
      forgetAbort();
      socket.destroy();
      then();
    };
    const fail = (error: unknown): void => settle(() => reject(ConnectionFailure.of(hostPort, error)));
    const cancelTimer = clock.after(timeoutMs, () => {
      fail(new ConnectionFailure(hostPort, `no answer within ${timeoutMs} ms`));
    });
    const forgetAbort = whenAborted(signal, () => settle(() => reject(signal.reason)));
    socket.once(tls === undefined ? "connect" : "secureConnect", () => {
      const why = socket instanceof TLSSocket ? refusedCertificate(socket) : undefined;
      if (why === undefined) settle(resolve);
      else fail(new ConnectionFailure(hostPort, why));
    });
    socket.on("error", fail);
    socket.once("close", () => fail(Object.assign(new Error("closed"), { code: "ECONNRESET" })));
  });
}

/** Describes why the certificate of a diagnostic connection is invalid; undefined if it is valid. */
function refusedCertificate(socket: TLSSocket): string | undefined {
  if (socket.authorized) return undefined;
  const error = socket.authorizationError as unknown as Error | string;
  const code = typeof error === "string" ? error : (error as NodeJS.ErrnoException).code;
  const { valid_from, valid_to, subjectaltname } = socket.getPeerCertificate();
  if (code === "CERT_HAS_EXPIRED") return `certificate expired on ${dateOf(valid_to)}`;
  if (code === "CERT_NOT_YET_VALID") return `certificate not valid before ${dateOf(valid_from)}`;
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") return `certificate for another name: it names ${subjectaltname ?? "none"}`;
  return typeof error === "string" ? (REASONS[error] ?? error) : reasonOf(error);
}

function dateOf(text: string): string {
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? text : new Date(ms).toISOString().slice(0, 10);
}
