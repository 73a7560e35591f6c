import { emptyResource } from "@opentelemetry/resources";
import type { CollectionResult, MetricProducer } from "@opentelemetry/sdk-metrics";
import type { Clock } from "../runtime/clock.js";
import { hrTimeOf, metricDataOf } from "./metric-data.js";
import type { Metrics } from "./metrics.js";

/** The instrumentation scope of all metrics. */
export const SCOPE = "frontcache";

/**
 * Provides the metrics of a member to the readers of the SDK. Instruments of the SDK look up a map for each recorded value; our
 * counters are added in place and only read here, once per interval.
 */
export class CountersProducer implements MetricProducer {
  readonly #metrics: Metrics;
  readonly #version: string;
  readonly #clock: Clock;

  constructor(metrics: Metrics, version: string, clock: Clock) {
    this.#metrics = metrics;
    this.#version = version;
    this.#clock = clock;
  }

  async collect(): Promise<CollectionResult> {
    const families = Object.values(this.#metrics.read());
    const span = { startTime: hrTimeOf(this.#metrics.startedAtMs), endTime: hrTimeOf(this.#clock.nowMs()) };
    const metrics = families.map((family) => metricDataOf(family, span));
    const scopeMetrics = [{ scope: { name: SCOPE, version: this.#version }, metrics }];
    return { resourceMetrics: { resource: emptyResource(), scopeMetrics }, errors: [] };
  }
}
