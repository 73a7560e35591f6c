import type { Clock } from "../../runtime/clock.js";
import type { Log } from "../../runtime/log.js";
import type { ConnectionAuthentication } from "../../security/connection-authentication.js";
import type { Principal } from "../../security/principal.js";
import type { Client } from "../limits/clients.js";
import type { Reply, Request } from "./reply.js";

/** One request with what it takes to answer it. */
export interface Exchange {
  readonly request: Request;
  readonly response: Reply;
  /** Authenticates the client. Unauthenticated clients get answers to probes only. */
  readonly authentication: Pick<ConnectionAuthentication, "accepts" | "tokenSuffices">;
  /** On whose behalf the cache is asked. */
  readonly principal: Principal;
  /** Whose limits apply. */
  readonly client: Client;
  /** Whether the connection is by TLS. */
  readonly encrypted: boolean;
  /** Aborted when the client is gone. It belongs to the connection: listeners must be taken off it again. */
  readonly signal: AbortSignal;
  /** Calls back once, when the answer is sent or can't be sent any more. One listener. */
  whenClosed(leave: () => void): void;
  readonly clock: Clock;
  readonly log: Log;
}
