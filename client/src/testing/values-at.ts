import { plainAccess } from "../members/access.js";
import { CircuitBreaker } from "../members/circuit-breaker.js";
import { systemClock } from "../members/clock.js";
import { lazyGrpcMembers } from "../members/grpc/lazy-grpc-members.js";
import { httpValues } from "../members/http/http-values.js";
import { HttpObjectRequests } from "../members/http/object-requests.js";
import { RunningCall } from "../members/running-call.js";
import { ValueObjects } from "../values/value-objects.js";

/** The values of a bucket at one listener, without a member list. */
export function valuesAt(
  bucket: string,
  listener: { readonly http: string } | { readonly grpc: string },
): { values: ValueObjects } & AsyncDisposable {
  const clock = systemClock;
  const requests = new HttpObjectRequests({
    clock,
    connectTimeoutMs: 60_000,
    access: plainAccess,
    mostConnections: 8,
    idleMs: 45_000,
  });
  const grpc = lazyGrpcMembers({ clock, connectTimeoutMs: 60_000, access: plainAccess });
  const breaker = new CircuitBreaker({ clock, openFor: { firstMs: 500, longestMs: 500 }, probe: async () => {} });
  const address = "http" in listener ? { grpcAddress: "member:1", httpAddress: listener.http } : { grpcAddress: listener.grpc };
  const owners = { addressesOf: () => [address] };
  const transport = "http" in listener ? httpValues(requests) : grpc.values;
  const failover = { clock, breaker, attempts: 2, backoff: { firstMs: 1, longestMs: 1 } };
  const values = new ValueObjects(bucket, {
    transport,
    owners,
    failover,
    nowMs: () => clock.monotonicMs(),
    after: (ms, run) => clock.after(ms, run),
    async run(subject, { signal }, work) {
      const call = new RunningCall({ clock, subject, signal });
      try {
        return await work(call);
      } finally {
        call.end();
      }
    },
  });
  return {
    values,
    async [Symbol.asyncDispose]() {
      await breaker.close();
      await requests.close();
      await grpc.close();
    },
  };
}
