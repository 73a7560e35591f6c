import type { Settings } from "./config/settings.js";
import type { Log } from "./runtime/log.js";

/** A member that serves. */
export interface RunningServer {
  /** `host:port` by which others reach its gRPC listener. */
  readonly grpcAddress: string;
  /** Lets running calls finish, for a bounded time, and ends everything; resolves when nothing is left. Harmless when repeated. */
  close(): Promise<void>;
}

export async function startServer(_settings: Settings, _log: Log): Promise<RunningServer> {
  throw new Error("not wired");
}
