import { OTLPMetricExporter } from "@opentelemetry/exporter-metrics-otlp-grpc";
import type { Resource } from "@opentelemetry/resources";
import { MeterProvider, type MetricProducer, PeriodicExportingMetricReader } from "@opentelemetry/sdk-metrics";
import type { Log } from "../runtime/log.js";
import type { ExportSettings } from "./export-settings.js";

/** Timeout of the last export, which delays the shutdown. */
const LAST_EXPORT_MS = 5_000;

/** Exports metrics with OTLP over gRPC, configured by OpenTelemetry's environment variables. */
export class OtlpExport {
  readonly #provider: MeterProvider;
  #closed = false;

  constructor(producer: MetricProducer, resource: Resource, settings: ExportSettings, log: Log) {
    const reader = new PeriodicExportingMetricReader({
      exporter: new LoggingExporter(log),
      exportIntervalMillis: settings.intervalMs,
      exportTimeoutMillis: settings.timeoutMs,
      metricProducers: [producer],
    });
    this.#provider = new MeterProvider({ resource, readers: [reader] });
  }

  /** Exports a last time and ends. Never rejects; gives up after 5 s. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#provider.shutdown({ timeoutMillis: LAST_EXPORT_MS }).catch(() => {});
  }
}

type ExportArguments = Parameters<OTLPMetricExporter["export"]>;

/** Logs the first of consecutive failures, and the next success. The SDK itself reports failures nowhere. */
class LoggingExporter extends OTLPMetricExporter {
  readonly #log: Log;
  #failures = 0;

  constructor(log: Log) {
    super();
    this.#log = log;
  }

  override export(metrics: ExportArguments[0], done: ExportArguments[1]): void {
    super.export(metrics, (result) => {
      this.#report(result.error);
      done(result);
    });
  }

  #report(error: Error | undefined): void {
    if (error === undefined) {
      if (this.#failures > 0)
        this.#log.info({ event: "metrics-exported-again", failures: this.#failures }, "metrics are exported again");
      this.#failures = 0;
    } else if (this.#failures++ === 0)
      this.#log.warn({ event: "metrics-not-exported" }, `cannot export metrics: ${error.message}`);
  }
}
