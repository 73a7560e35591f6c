import { PrometheusSerializer } from "@opentelemetry/exporter-prometheus";
import type { Resource } from "@opentelemetry/resources";
import { prometheusName } from "./declaration.js";
import { hrTimeOf, metricDataOf } from "./metric-data.js";
import { SCOPE } from "./metric-producer.js";
import type { Metrics } from "./metrics.js";

/** The content type of Prometheus's text format. */
export const PROMETHEUS_TEXT = "text/plain; version=0.0.4; charset=utf-8";

/** No timestamps; the scope's labels, always the same, are left out. */
const serializer = new PrometheusSerializer(undefined, false, undefined, false, true);

/** All metrics in Prometheus's text format, the resource as `target_info`. */
export function prometheusText(metrics: Metrics, resource: Resource): string {
  const startTime = hrTimeOf(metrics.startedAtMs);
  const data = Object.values(metrics.read()).map((family) =>
    metricDataOf(family, { startTime, endTime: startTime }, prometheusName(family.declaration)),
  );
  return serializer.serialize({ resource, scopeMetrics: [{ scope: { name: SCOPE }, metrics: data }] });
}
