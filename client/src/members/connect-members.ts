import { CacheError } from "@frontcache/proto";
import type { Backoff } from "@frontcache/proto/runtime";
import type { Access } from "./access.js";
import { CircuitBreaker } from "./circuit-breaker.js";
import type { Clock } from "./clock.js";
import { lazyGrpcMembers } from "./grpc/lazy-grpc-members.js";
import { Unintelligible } from "./http/answer-head.js";
import { HttpTransport, UnnameableVersion } from "./http/http-transport.js";
import {
  type BlockTransport,
  type CallLimits,
  type MemberAddress,
  type MemberConnections,
  type ReadTarget,
  Unreachable,
} from "./ports.js";

/** How bytes are read: by HTTP from members that have an HTTP listener, by gRPC if that can't be done; or by one of them alone. */
export type BytesBy = "auto" | "http" | "grpc";

/** How members are connected to. */
export interface ConnectMembersOptions {
  readonly clock: Clock;
  readonly access: Access;
  readonly connectTimeoutMs: number;
  readonly transport: BytesBy;
  /** Connections by HTTP to one member; reads beyond that wait in order. */
  readonly mostConnections: number;
  /** HTTP/2's window of a stream; absent: 16 MiB. */
  readonly windowBytes?: number | undefined;
  /** Wraps each transport, for measuring. Absent: nothing is measured. */
  readonly measured?: ((by: "http" | "grpc", transport: BlockTransport) => BlockTransport) | undefined;
}

/** How long an HTTP listener that failed is left alone while its member answers by gRPC. */
const HTTP_OPEN_FOR: Backoff = { firstMs: 500, longestMs: 15_000 };
/** Shorter than members (75 s) and load balancers (60 s) keep idle connections, so that mostly this side closes them. */
const IDLE_MS = 45_000;

/** The ways to all members that the options ask for. Nothing is connected before it is needed. */
export function connectMembers(options: ConnectMembersOptions): MemberConnections {
  const { clock, access, connectTimeoutMs, transport, mostConnections, windowBytes } = options;
  const measured = options.measured ?? ((_by: "http" | "grpc", unmeasured: BlockTransport) => unmeasured);
  const calls = lazyGrpcMembers({ clock, access, connectTimeoutMs, windowBytes });
  const http = new HttpTransport({ clock, connectTimeoutMs, access, mostConnections, idleMs: IDLE_MS });
  const probe = (httpAddress: string): Promise<void> => http.probe(httpAddress);
  const breaker = new CircuitBreaker({ clock, openFor: HTTP_OPEN_FOR, probe });
  const byHttp = measured("http", http);
  const byGrpc = measured("grpc", calls);
  const blocks = transport === "grpc" ? byGrpc : transport === "http" ? byHttp : httpFirst(byHttp, byGrpc, breaker);
  return {
    blocks,
    calls,
    objects: calls,
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
 * Reads by HTTP from members that have an HTTP listener, and by gRPC from those that have none, or one that can't be used. If an
 * answer by HTTP is interrupted, gRPC resumes after its last byte: it tells a lost member from a failed origin. `breaker` is by
 * HTTP address.
 */
export function httpFirst(http: BlockTransport, grpc: BlockTransport, breaker: CircuitBreaker): BlockTransport {
  return {
    async read(address: MemberAddress, target: ReadTarget, limits: CallLimits): Promise<void> {
      const { httpAddress } = address;
      if (httpAddress === undefined || breaker.isOpen(httpAddress)) return grpc.read(address, target, limits);
      try {
        await http.read(address, target, limits);
        breaker.succeeded(httpAddress);
      } catch (error) {
        if (limits.ended !== undefined || !mayResume(error, httpAddress, breaker)) throw error;
        await grpc.read(address, target, limits);
      }
    },
    async close(): Promise<void> {
      await http.close();
      await grpc.close();
    },
  };
}

/** Whether gRPC may do better at the same member. Remembers what the failure says of its HTTP listener. */
function mayResume(error: unknown, httpAddress: string, breaker: CircuitBreaker): boolean {
  // Nothing of an answer that isn't a member's has been accepted.
  if (error instanceof Unintelligible) {
    breaker.failed(httpAddress);
    return true;
  }
  if (error instanceof UnnameableVersion) return true;
  if (error instanceof Unreachable) {
    // An interrupted answer is mostly one whose origin failed: the listener itself may be well.
    if (!error.hadBegun) breaker.failed(httpAddress);
    return !error.isGone;
  }
  const { code } = CacheError.from(error);
  if (code !== "INTERNAL") breaker.succeeded(httpAddress);
  return false;
}
