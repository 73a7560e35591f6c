import { connect } from "node:net";
import { CacheError } from "@frontcache/proto";
import type { Clock } from "./clock.js";
import { socketAddress } from "./socket-address.js";

/**
 * Resolves when somebody listens at `host:port`; rejects when nobody does within `timeoutMs`, or at once when the signal is
 * aborted. The connection is closed again. It goes before each of gRPC's own: those can't be given up, so that an address
 * which swallows everything would hold a socket, and the process, until the kernel loses patience after two minutes.
 */
export function tcpReach(hostPort: string, { clock, timeoutMs, signal }: TcpReachOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const socket = connect(socketAddress(hostPort));
    const settle = (then: () => void): void => {
      cancelTimer();
      signal.removeEventListener("abort", onAbort);
      socket.destroy();
      then();
    };
    const onAbort = (): void => settle(() => reject(signal.reason));
    const cancelTimer = clock.after(timeoutMs, () => {
      settle(() => reject(new CacheError("UNAVAILABLE", `nobody answers at ${hostPort} within ${timeoutMs} ms`)));
    });
    signal.addEventListener("abort", onAbort, { once: true });
    socket.once("connect", () => settle(resolve));
    socket.once("error", (error) => settle(() => reject(error)));
  });
}

export interface TcpReachOptions {
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}
