import { CacheError } from "@frontcache/proto";
import { type Counter, createNoopMeter, type Histogram, type Meter, metrics } from "@opentelemetry/api";
import type { BlockTransport, CallLimits, MemberAddress, ReadTarget } from "./members/ports.js";

/** How bytes came: from a gateway, over gRPC, or from a block file on this host. */
export type By = "http" | "grpc" | "file";

/** The names of a client's metrics, with units and descriptions after OpenTelemetry's conventions. */
export const clientMetricList = {
  duration: {
    name: "frontcache.client.read.duration",
    unit: "s",
    description: "Reads by `readRange` and `stream`, from the call to the last byte; failed ones with their error code.",
  },
  io: { name: "frontcache.client.io", unit: "By", description: "Bytes that came, by transport: http, grpc, file." },
  requests: {
    name: "frontcache.client.requests",
    unit: "{request}",
    description: "Reads of one block's part, by transport: http, grpc, file; failed ones with their error code.",
  },
  failovers: {
    name: "frontcache.client.failovers",
    unit: "{try}",
    description: "Tries after a failed one: of another member that was in reach, or of the same after a wait.",
  },
} as const;

/** Seconds, as members have them. */
const LATENCY = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** What a client counts, by the application's own OpenTelemetry. */
export class ClientMetrics {
  readonly #duration: Histogram;
  readonly #io: Counter;
  readonly #requests: Counter;
  readonly #failovers: Counter;

  constructor(meter: Meter) {
    const { duration, io, requests, failovers } = clientMetricList;
    this.#duration = meter.createHistogram(duration.name, { ...duration, advice: { explicitBucketBoundaries: LATENCY } });
    this.#io = meter.createCounter(io.name, io);
    this.#requests = meter.createCounter(requests.name, requests);
    this.#failovers = meter.createCounter(failovers.name, failovers);
  }

  /** A call is over, with `error` where it failed. */
  read(operation: "range" | "stream", durationMs: number, error?: unknown): void {
    this.#duration.record(durationMs / 1_000, { operation, ...errorType(error) });
  }

  /** One block's part came, `bytes` of it. */
  part(transport: By, bytes: number): void {
    this.#requests.add(1, { transport });
    this.#io.add(bytes, { transport });
  }

  /** One block's part did not come. */
  partFailed(transport: By, error: unknown): void {
    this.#requests.add(1, { transport, ...errorType(error) });
  }

  /** Something is tried once more. */
  failover(wasUnreachable: boolean): void {
    this.#failovers.add(1, { reason: wasUnreachable ? "out_of_reach" : "failed" });
  }
}

/**
 * Undefined where the application has set no meter provider: then nothing is counted, and nothing is paid. It is looked for
 * when a client is made.
 */
export function registeredMetrics(): ClientMetrics | undefined {
  const meter = metrics.getMeter("@frontcache/client");
  return meter === createNoopMeter() ? undefined : new ClientMetrics(meter);
}

/** Wraps a transport so that its reads are measured. */
export function measuredBy(metrics: ClientMetrics): (by: "http" | "grpc", transport: BlockTransport) => BlockTransport {
  return (by, transport) => ({
    async read(address: MemberAddress, target: ReadTarget, limits: CallLimits): Promise<void> {
      let received = 0;
      const measured: ReadTarget = {
        nextRequest: () => target.nextRequest(),
        open: (head, source) => target.open(head, source),
        room: () => target.room(),
        landed: (bytes) => {
          received += bytes;
          return target.landed(bytes);
        },
      };
      try {
        await transport.read(address, measured, limits);
        metrics.part(by, received);
      } catch (error) {
        metrics.partFailed(by, error);
        throw error;
      }
    },
    close: () => transport.close(),
  });
}

/** A closed list of codes: no label without a bound. */
function errorType(error: unknown): { readonly "error.type"?: string } {
  return error === undefined ? {} : { "error.type": CacheError.from(error).code };
}
