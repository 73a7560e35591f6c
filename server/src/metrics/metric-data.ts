import type { HrTime } from "@opentelemetry/api";
import { ValueType } from "@opentelemetry/api";
import {
  AggregationTemporality,
  type DataPoint,
  DataPointType,
  type Histogram,
  type MetricData,
} from "@opentelemetry/sdk-metrics";
import type { MetricDeclaration } from "./declaration.js";
import type { Family } from "./family.js";
import { HistogramSeries, type NumberSeries } from "./series.js";

/** The time that the values of counters cover. */
export interface Span {
  readonly startTime: HrTime;
  readonly endTime: HrTime;
}

/** Converts milliseconds to OpenTelemetry's form of time: seconds and nanoseconds. */
export function hrTimeOf(ms: number): HrTime {
  const seconds = Math.floor(ms / 1000);
  return [seconds, Math.round((ms - seconds * 1000) * 1e6)];
}

/**
 * Converts the current values of a family to the form of the SDK's exporters: cumulative, counted since the start. `called` is a
 * name that already contains the unit.
 */
export function metricDataOf(family: Family<MetricDeclaration>, span: Span, called?: string): MetricData {
  const { kind, text } = family.declaration;
  const { name, unit } = called === undefined ? family.declaration : { name: called, unit: "" };
  const descriptor = { name, description: text, unit, valueType: ValueType.DOUBLE };
  const common = { descriptor, aggregationTemporality: AggregationTemporality.CUMULATIVE };
  const numbers = (): DataPoint<number>[] =>
    (family.all as NumberSeries[]).map(({ labels, value }) => ({ ...span, attributes: labels, value }));
  switch (kind) {
    case "histogram": {
      const { boundaries } = family.declaration;
      const dataPoints = family.all.flatMap((series) =>
        series instanceof HistogramSeries ? [{ ...span, attributes: series.labels, value: histogramOf(series, boundaries) }] : [],
      );
      return { ...common, dataPointType: DataPointType.HISTOGRAM, dataPoints };
    }
    case "gauge":
      return { ...common, dataPointType: DataPointType.GAUGE, dataPoints: numbers() };
    case "counter":
    case "upDownCounter":
      return { ...common, dataPointType: DataPointType.SUM, isMonotonic: kind === "counter", dataPoints: numbers() };
  }
}

function histogramOf({ counts, count, sum }: HistogramSeries, boundaries: readonly number[]): Histogram {
  return { buckets: { boundaries: [...boundaries], counts: [...counts] }, count, sum };
}
