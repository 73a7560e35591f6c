import { CacheError } from "@frontcache/proto";
import type { Backoff } from "@frontcache/proto/runtime";
import type { Access } from "./access.js";
import { CircuitBreaker, type CircuitBreakerOptions } from "./circuit-breaker.js";
import type { Clock } from "./clock.js";
import { lazyGrpcMembers } from "./grpc/lazy-grpc-members.js";
import { Unintelligible } from "./http/answer-head.js";
import { HttpTransport, type HttpTransportOptions, UnnameableVersion } from "./http/http-transport.js";
import {
  type BlockTransport,
  type CallLimits,
  type MemberAddress,
  type MemberConnections,
  type ReadTarget,
  Unreachable,
} from "./ports.js";
import type { ValueTransport } from "./value-transport.js";

/** Protocol of reads. `auto`: HTTP if the member has an HTTP listener that works, otherwise gRPC. */
export type BytesBy = "auto" | "http" | "grpc";

/** Options of connections to members. */
export interface ConnectMembersOptions {
  readonly clock: Clock;
  readonly access: Access;
  readonly connectTimeoutMs: number;
  readonly transport: BytesBy;
  /** Maximum HTTP connections to one member; further reads wait in order. */
  readonly mostConnections: number;
  /** HTTP/2 window of a stream, bytes; absent: 16 MiB. */
  readonly windowBytes?: number | undefined;
  /**
   * Whether a member that has sent nothing for a while is probed after 100 ms of a read instead of 500. Members set it: a client that
   * found the owner of a block frozen must not wait as long again at the next member, which also asks the owner. Absent: no.
   */
  readonly probesEarly?: boolean | undefined;
  /** Returns how to send a request over HTTP past the stream of a socket without TLS. Absent: it goes through the stream. */
  readonly directSend?: HttpTransportOptions["directSend"];
  /** Called when an HTTP listener fails (`false`), so that reads use gRPC, and when it answers again. Absent: nothing is called. */
  readonly onHttpChange?: CircuitBreakerOptions["onChange"];
  /** Wraps each transport to measure it. Absent: nothing is measured. */
  readonly measured?: ((by: "http" | "grpc", transport: BlockTransport) => BlockTransport) | undefined;
}

/** Time that a failed HTTP listener is not used while its member answers over gRPC. */
const HTTP_OPEN_FOR: Backoff = { firstMs: 500, longestMs: 15_000 };
/**
 * Shorter than the idle timeouts of members (75 s) and load balancers (60 s), so that usually this side closes idle connections.
 */
const IDLE_MS = 45_000;

/** Creates the connections to members that the options require. Connects only when the first call needs it. */
export function connectMembers(options: ConnectMembersOptions): MemberConnections & { readonly grpcValues: ValueTransport } {
  const { clock, access, connectTimeoutMs, transport, mostConnections, windowBytes, probesEarly, directSend } = options;
  const measured = options.measured ?? ((_by: "http" | "grpc", unmeasured: BlockTransport) => unmeasured);
  const calls = lazyGrpcMembers({ clock, access, connectTimeoutMs, windowBytes, probesEarly });
  const http = new HttpTransport({ clock, connectTimeoutMs, access, mostConnections, idleMs: IDLE_MS, probesEarly, directSend });
  const probe = (httpAddress: string): Promise<void> => http.probe(httpAddress);
  const breaker = new CircuitBreaker({ clock, openFor: HTTP_OPEN_FOR, probe, onChange: options.onHttpChange });
  const byHttp = measured("http", http);
  const byGrpc = measured("grpc", calls);
  const blocks = transport === "grpc" ? byGrpc : transport === "http" ? byHttp : httpFirst(byHttp, byGrpc, breaker);
  return {
    blocks,
    calls,
    objects: calls,
    values: calls,
    grpcValues: calls.values,
    keepOnly(addresses) {
      const httpAddresses = new Set(addresses.map(({ httpAddress }) => httpAddress));
      http.keepOnly(httpAddresses);
      breaker.keepOnly(httpAddresses);
      calls.keepOnly(new Set(addresses.map(({ grpcAddress }) => grpcAddress)));
    },
    renew() {
      http.renew();
      calls.renew();
    },
    async close() {
      await http.close();
      await breaker.close();
      await calls.close();
    },
  };
}

/**
 * Reads over HTTP from members with an HTTP listener, and over gRPC from members without one, or with one that does not work. If
 * an HTTP response is interrupted, gRPC resumes after its last byte, because it distinguishes a lost member from a failed origin.
 * The keys of `breaker` are HTTP addresses.
 */
export function httpFirst(http: BlockTransport, grpc: BlockTransport, breaker: CircuitBreaker): BlockTransport {
  return {
    read(address: MemberAddress, target: ReadTarget, limits: CallLimits): Promise<void> {
      const { httpAddress } = address;
      if (httpAddress === undefined || breaker.isOpen(httpAddress)) return grpc.read(address, target, limits);
      return http.read(address, target, limits).then(
        () => breaker.succeeded(httpAddress),
        (error: unknown) => {
          if (limits.ended !== undefined || !mayResume(error, httpAddress, breaker)) throw error;
          return grpc.read(address, target, limits);
        },
      );
    },
    async close(): Promise<void> {
      await http.close();
      await grpc.close();
    },
  };
}

/** Returns whether gRPC may succeed at the same member. Records the failure of its HTTP listener. */
function mayResume(error: unknown, httpAddress: string, breaker: CircuitBreaker): boolean {
  // No byte of a response that is not a member's was accepted.
  if (error instanceof Unintelligible) {
    breaker.failed(httpAddress, error);
    return true;
  }
  if (error instanceof UnnameableVersion) return true;
  if (error instanceof Unreachable) {
    // A response is usually interrupted because its origin failed; the listener itself may work.
    if (!error.hadBegun) breaker.failed(httpAddress, error);
    return !error.isGone;
  }
  const { code } = CacheError.from(error);
  if (code !== "INTERNAL") breaker.succeeded(httpAddress);
  return false;
}
