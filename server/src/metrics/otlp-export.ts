import { OTLPMetricExporter } from "@opentelemetry/exporter-metrics-otlp-grpc";
import type { Resource } from "@opentelemetry/resources";
import { MeterProvider, type MetricProducer, PeriodicExportingMetricReader } from "@opentelemetry/sdk-metrics";
import type { Log } from "../runtime/log.js";
import type { ExportSettings } from "./export-settings.js";

/** The last export must not hold a member that leaves for longer. */
const LAST_EXPORT_MS = 5_000;

/** OTLP over gRPC, to where the standard's variables say. */
export class OtlpExport {
  readonly #provider: MeterProvider;
  #closed = false;

  constructor(producer: MetricProducer, resource: Resource, settings: ExportSettings, log: Log) {
    const reader = new PeriodicExportingMetricReader({
      exporter: new TellingExporter(log),
      exportIntervalMillis: settings.intervalMs,
      exportTimeoutMillis: settings.timeoutMs,
      metricProducers: [producer],
    });
    this.#provider = new MeterProvider({ resource, readers: [reader] });
  }

  /** Exports a last time and ends. Never rejects; after 5 s it gives up. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#provider.shutdown({ timeoutMillis: LAST_EXPORT_MS }).catch(() => {});
  }
}

type ExportArguments = Parameters<OTLPMetricExporter["export"]>;

/** Failures would go nowhere: the first of a row, and the end of it, are logged. */
class TellingExporter extends OTLPMetricExporter {
  #failures = 0;

  constructor(private readonly log: Log) {
    super();
  }

  override export(metrics: ExportArguments[0], done: ExportArguments[1]): void {
    super.export(metrics, (result) => {
      this.#tell(result.error);
      done(result);
    });
  }

  #tell(error: Error | undefined): void {
    if (error === undefined) {
      if (this.#failures > 0) this.log.info({ event: "metrics-exported-again", failures: this.#failures });
      this.#failures = 0;
    } else if (this.#failures++ === 0) this.log.warn({ event: "metrics-not-exported", message: error.message });
  }
}
