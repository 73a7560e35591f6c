import { CacheError } from "@frontcache/proto";
import { type Counter, createNoopMeter, type Histogram, type Meter, metrics } from "@opentelemetry/api";
import type { BlockTransport, CallLimits, MemberAddress, ReadTarget } from "./members/ports.js";

/**
 * The transport of a read: HTTP, gRPC, a block file on this host, the near cache in memory or on disk, or the caller's own client of
 * the object store.
 */
export type By = "http" | "grpc" | "file" | "near" | "near-disk" | "fallback";

/** The names of a client's metrics, with units and descriptions after OpenTelemetry's conventions. */
export const clientMetricList = {
  duration: {
    name: "frontcache.client.read.duration",
    unit: "s",
    description: "Reads by `readRange` and `stream`, from the call to the last byte; failed ones with their error code.",
  },
  io: {
    name: "frontcache.client.io",
    unit: "By",
    description: "Bytes read, by transport: http, grpc, file, near, near-disk, fallback.",
  },
  requests: {
    name: "frontcache.client.requests",
    unit: "{request}",
    description:
      "Reads from one block, by transport: http, grpc, file, near, near-disk, fallback; failed ones with their error code.",
  },
  failovers: {
    name: "frontcache.client.failovers",
    unit: "{try}",
    description: "Retries, by reason: the member was unreachable, or the attempt failed otherwise.",
  },
} as const;

/** Bucket boundaries in seconds, the same as the members'. */
const LATENCY = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** Records the client's metrics with the application's OpenTelemetry SDK. */
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

  /** Records the end of a call, with its error if it failed. */
  read(operation: "range" | "stream", durationMs: number, error?: unknown): void {
    this.#duration.record(durationMs / 1_000, { operation, ...errorType(error) });
  }

  /** Records a successful read from one block. */
  part(transport: By, bytes: number): void {
    this.#requests.add(1, { transport });
    this.#io.add(bytes, { transport });
  }

  /** Records a failed read from one block. */
  partFailed(transport: By, error: unknown): void {
    this.#requests.add(1, { transport, ...errorType(error) });
  }

  /** Records a retry. */
  failover(wasUnreachable: boolean): void {
    this.#failovers.add(1, { reason: wasUnreachable ? "unreachable" : "failed" });
  }
}

/**
 * Returns the client's metrics. Without a meter provider, returns undefined: metrics are disabled and cost nothing. The provider
 * is looked up when a client is created.
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
        sent: () => target.sent(),
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

/** Returns the label of an error. Error codes are a closed list, so the number of label values is bounded. */
function errorType(error: unknown): { readonly "error.type"?: string } {
  return error === undefined ? {} : { "error.type": CacheError.from(error).code };
}
