/**
 * counter: only grows. upDownCounter: a present amount that may be summed over members. gauge: a present value that may not.
 */
export type NumberKind = "counter" | "upDownCounter" | "gauge";

/** The values that a label may have. `configured`: those that the settings name, the volumes' paths; few, and known at the start. */
export type LabelValues = readonly string[] | "configured";

export type Labels = Readonly<Record<string, LabelValues>>;

export interface NumberDeclaration<L extends Labels = Labels> {
  readonly kind: NumberKind;
  /** As OpenTelemetry names it. */
  readonly name: string;
  /** UCUM, as OpenTelemetry has it: `s`, `By`, `1`, or a counted thing in braces. */
  readonly unit: string;
  /** One sentence. */
  readonly text: string;
  readonly labels: L;
}

export interface HistogramDeclaration<L extends Labels = Labels> extends Omit<NumberDeclaration<L>, "kind"> {
  readonly kind: "histogram";
  /** Inclusive upper bounds, ascending, in the unit. */
  readonly boundaries: readonly number[];
}

export type MetricDeclaration = NumberDeclaration | HistogramDeclaration;

/** What Prometheus calls the units; counted things and ratios of gauges apart. */
const unitSuffixes: Readonly<Record<string, string>> = { s: "seconds", By: "bytes" };

/**
 * The name that Prometheus has for it, by OpenTelemetry's rules for compatibility: `_` for dots, the unit spelt out, `_ratio`
 * for a gauge of unit 1, `_total` for counters. It is the same whether a member is scraped or a collector passes it on.
 */
export function prometheusName({ name, unit, kind }: MetricDeclaration): string {
  const base = name.replaceAll(/[^a-zA-Z0-9]+/g, "_");
  const suffix = unit === "1" && kind === "gauge" ? "ratio" : unitSuffixes[unit];
  const withUnit = suffix === undefined || base.split("_").includes(suffix) ? base : `${base}_${suffix}`;
  return kind === "counter" ? `${withUnit}_total` : withUnit;
}

/** The name that Prometheus has for a label. */
export function prometheusLabel(label: string): string {
  return label.replaceAll(/[^a-zA-Z0-9]+/g, "_");
}
