/** Settings from OpenTelemetry's environment variables. The exporter itself reads endpoint, headers, compression and TLS. */
export interface ExportSettings {
  /** Milliseconds between two exports. */
  readonly intervalMs: number;
  /** Milliseconds that one export may take; not more than the interval. */
  readonly timeoutMs: number;
}

/**
 * Returns the settings; undefined if no endpoint is configured or the export is disabled. `OTEL_METRIC_EXPORT_INTERVAL` (60,000)
 * and `OTEL_METRIC_EXPORT_TIMEOUT` (30,000) are milliseconds. As the standard requires, an invalid number selects the default.
 */
export function exportSettings(environment: Readonly<Record<string, string | undefined>>): ExportSettings | undefined {
  const endpoint = environment.OTEL_EXPORTER_OTLP_METRICS_ENDPOINT || environment.OTEL_EXPORTER_OTLP_ENDPOINT;
  const isOff = environment.OTEL_SDK_DISABLED?.toLowerCase() === "true" || environment.OTEL_METRICS_EXPORTER === "none";
  if (!endpoint || isOff) return undefined;
  const intervalMs = positive(environment.OTEL_METRIC_EXPORT_INTERVAL) ?? 60_000;
  return { intervalMs, timeoutMs: Math.min(intervalMs, positive(environment.OTEL_METRIC_EXPORT_TIMEOUT) ?? 30_000) };
}

function positive(text: string | undefined): number | undefined {
  const value = Number(text || Number.NaN);
  return Number.isFinite(value) && value > 0 ? value : undefined;
}
