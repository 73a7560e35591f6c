import type { Server, TLSSocket } from "node:tls";
import type { Clock } from "../runtime/clock.js";
import type { Log } from "../runtime/log.js";
import { FailureCount, type ListenerName } from "./failure-count.js";

/** Reasons of OpenSSL that need an explanation. */
const EXPLANATIONS: Readonly<Record<string, string>> = {
  "http request": "the client sent plain HTTP to a TLS port",
  "wrong version number": "the client did not send TLS",
  "peer did not return a certificate": "the client presented no certificate",
  "tlsv1 alert unknown ca": "the client does not trust the authority of this member's certificate",
  "sslv3 alert certificate expired": "the client reports that this member's certificate has expired",
  "sslv3 alert bad certificate": "the client refuses this member's certificate",
  "sslv3 alert certificate unknown": "the client refuses this member's certificate",
};

/** Counts failed TLS handshakes and logs their causes. */
export class HandshakeFailures extends FailureCount {
  constructor(clock: Clock, log: Log) {
    super(clock, log, "tls-handshake-failed", "TLS handshake failed");
  }

  /** Observes the handshakes of a server. */
  watch(server: Pick<Server, "on">, listener: ListenerName): void {
    server.on("tlsClientError", (error: Error, socket: TLSSocket) =>
      this.failed(causeOf(error, socket), { listener, client: socket.remoteAddress }),
    );
  }
}

/** The reason for a failed handshake, in words. */
export function causeOf(
  error: Error & { readonly code?: string; readonly reason?: string },
  { authorizationError }: { readonly authorizationError?: unknown },
): string {
  if (authorizationError) return `the client's certificate is refused: ${String(authorizationError)}`;
  if (error.reason !== undefined) return EXPLANATIONS[error.reason] ?? error.reason;
  return error.code === "ECONNRESET" ? "the client closed the connection during the handshake" : error.message;
}
