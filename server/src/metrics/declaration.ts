/**
 * counter: only grows. upDownCounter: a current amount that may be summed over members. gauge: a current value that may not.
 */
export type NumberKind = "counter" | "upDownCounter" | "gauge";

/**
 * The values that a label may have. `configured`: values from the settings (paths of volumes, names of buckets of values), known at the
 * start.
 */
export type LabelValues = readonly string[] | "configured";

export type Labels = Readonly<Record<string, LabelValues>>;

export interface NumberDeclaration<L extends Labels = Labels> {
  readonly kind: NumberKind;
  /** The name in OpenTelemetry. */
  readonly name: string;
  /** The unit in UCUM, as OpenTelemetry requires: `s`, `By`, `1`, or a counted thing in braces. */
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

/** Names of the units in Prometheus. Counted things have none; ratios are handled separately. */
const unitSuffixes: Readonly<Record<string, string>> = { s: "seconds", By: "bytes" };

/**
 * Returns the metric's name in Prometheus, by OpenTelemetry's compatibility rules: `_` for dots, the unit as a word, `_ratio` for
 * a gauge of unit 1, `_total` for counters. It is the same for a scraped member and for a collector.
 */
export function prometheusName({ name, unit, kind }: MetricDeclaration): string {
  const base = name.replaceAll(/[^a-zA-Z0-9]+/g, "_");
  const suffix = unit === "1" && kind === "gauge" ? "ratio" : unitSuffixes[unit];
  const withUnit = suffix === undefined || base.split("_").includes(suffix) ? base : `${base}_${suffix}`;
  return kind === "counter" ? `${withUnit}_total` : withUnit;
}

/** Returns a label's name in Prometheus. */
export function prometheusLabel(label: string): string {
  return label.replaceAll(/[^a-zA-Z0-9]+/g, "_");
}
