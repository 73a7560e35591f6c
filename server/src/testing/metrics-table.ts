import { type MetricDeclaration, prometheusLabel, prometheusName } from "../metrics/declaration.js";
import { metricList } from "../metrics/metric-list.js";

/** Returns all metrics as a Markdown table for the documentation; a test compares it. */
export function metricsTable(): string {
  const rows = Object.values(metricList as Record<string, MetricDeclaration>).map((metric) => {
    const names = `\`${metric.name}\`<br>\`${prometheusName(metric)}\``;
    return row([names, metric.kind, metric.unit, labelsOf(metric), metric.text]);
  });
  return [row(["OpenTelemetry, Prometheus", "kind", "unit", "labels", "what it is"]), row(Array(5).fill("---")), ...rows].join(
    "\n",
  );
}

function labelsOf({ labels }: MetricDeclaration): string {
  return Object.entries(labels)
    .map(([name, values]) => {
      const inPrometheus = prometheusLabel(name);
      const both = inPrometheus === name ? `\`${name}\`` : `\`${name}\` (\`${inPrometheus}\`)`;
      return `${both}: ${values === "configured" ? "each of `--cache-dirs`" : values.join(", ")}`;
    })
    .join("; ");
}

function row(cells: readonly string[]): string {
  return `| ${cells.join(" | ")} |`;
}
