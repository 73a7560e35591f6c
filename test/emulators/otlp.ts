import { join } from "node:path";
import { loadPackageDefinition, Server, ServerCredentials, type ServiceDefinition } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

/** A data point of a metric. The value of a histogram is its count. */
export interface ReceivedPoint {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** A metric in one export. */
export interface ReceivedMetric {
  readonly name: string;
  readonly unit: string;
  readonly text: string;
  readonly kind: "counter" | "upDownCounter" | "gauge" | "histogram";
  readonly temporality: string | undefined;
  readonly points: readonly ReceivedPoint[];
}

/** One export of one process. */
export interface ReceivedExport {
  readonly resource: Readonly<Record<string, string>>;
  readonly metrics: readonly ReceivedMetric[];
}

interface KeyValue {
  readonly key: string;
  readonly value: { readonly stringValue?: string };
}
interface WirePoint {
  readonly attributes: readonly KeyValue[];
  readonly asDouble?: number;
  readonly asInt?: number;
  readonly count?: number;
}
interface WirePoints {
  readonly dataPoints: readonly WirePoint[];
  readonly aggregationTemporality?: string;
  readonly isMonotonic?: boolean;
}
interface WireMetric extends Partial<Record<"gauge" | "sum" | "histogram", WirePoints>> {
  readonly name: string;
  readonly unit: string;
  readonly description: string;
}
interface WireExport {
  readonly resourceMetrics: readonly {
    readonly resource: { readonly attributes: readonly KeyValue[] };
    readonly scopeMetrics: readonly { readonly metrics: readonly WireMetric[] }[];
  }[];
}

/** A collector that receives OTLP over gRPC on a local port and records all exports. */
export class OtlpReceiver implements AsyncDisposable {
  readonly exports: ReceivedExport[] = [];
  readonly #server = new Server();
  #endpoint = "";

  static async start(): Promise<OtlpReceiver> {
    const receiver = new OtlpReceiver();
    const definition = loadSync(join(import.meta.dirname, "otlp-metrics.proto"), { longs: Number, enums: String, arrays: true });
    const service = definition["opentelemetry.proto.collector.metrics.v1.MetricsService"] as ServiceDefinition;
    loadPackageDefinition(definition);
    receiver.#server.addService(service, {
      Export: (call: { request: WireExport }, answer: (error: null, response: object) => void) => {
        receiver.#take(call.request);
        answer(null, {});
      },
    });
    const port = await new Promise<number>((resolve, reject) =>
      receiver.#server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      ),
    );
    receiver.#endpoint = `http://127.0.0.1:${port}`;
    return receiver;
  }

  /** For `OTEL_EXPORTER_OTLP_ENDPOINT`. */
  get endpoint(): string {
    return this.#endpoint;
  }

  /** The latest export of each process, by its `service.instance.id`. */
  get newest(): Map<string, ReceivedExport> {
    return new Map(this.exports.map((received) => [received.resource["service.instance.id"] ?? "", received]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.forceShutdown();
  }

  #take({ resourceMetrics }: WireExport): void {
    for (const { resource, scopeMetrics } of resourceMetrics) {
      const metrics = scopeMetrics.flatMap(({ metrics: all }) => all.map(metricOf));
      this.exports.push({ resource: labelsOf(resource.attributes), metrics });
    }
  }
}

function metricOf({ name, unit, description: text, gauge, sum, histogram }: WireMetric): ReceivedMetric {
  const points = (gauge ?? sum ?? histogram)!;
  const kind = gauge ? "gauge" : histogram ? "histogram" : sum!.isMonotonic ? "counter" : "upDownCounter";
  return {
    name,
    unit,
    text,
    kind,
    temporality: points.aggregationTemporality,
    points: points.dataPoints.map(({ attributes, asDouble, asInt, count }) => ({
      labels: labelsOf(attributes),
      value: Number(count ?? asDouble ?? asInt ?? 0),
    })),
  };
}

function labelsOf(attributes: readonly KeyValue[]): Record<string, string> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, value.stringValue ?? JSON.stringify(value)]));
}
