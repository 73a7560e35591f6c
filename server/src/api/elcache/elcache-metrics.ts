import { HistogramSeries } from "../../metrics/series.js";
import type { Clock } from "../../runtime/clock.js";
import type { ValueStats } from "../../values/values.js";

const LATENCY_MS = [0.1, 0.5, 1, 5, 10, 50, 100, 500, 1_000];

/** One metric of ElCache. */
interface ElCacheMetric {
  readonly name: string;
  readonly kind: "counter" | "gauge" | "histogram";
  readonly text: string;
  readonly value: number | HistogramSeries;
}

/**
 * The metrics by their names in ElCache's API reference, for dashboards made for it. `/metrics` of the HTTP listener has all of the
 * member's.
 */
export class ElCacheMetrics {
  /** Until the head of a response, and until a value was stored, milliseconds. */
  readonly get = new HistogramSeries({}, LATENCY_MS);
  readonly put = new HistogramSeries({}, LATENCY_MS);
  readonly #clock: Pick<Clock, "monotonicMs">;
  readonly #startedMs: number;

  constructor(clock: Pick<Clock, "monotonicMs">) {
    this.#clock = clock;
    this.#startedMs = clock.monotonicMs();
  }

  nowMs(): number {
    return this.#clock.monotonicMs();
  }

  /** Prometheus's text format. */
  text(stats: ValueStats, activeNodes: number): string {
    return this.#all(stats, activeNodes).map(textOf).join("\n");
  }

  /** The same as one JSON object. */
  json(stats: ValueStats, activeNodes: number): Record<string, unknown> {
    const entries = this.#all(stats, activeNodes).map(({ name, value }) => [
      name,
      typeof value === "number" ? value : { count: value.count, sum: value.sum, p99: value.quantile(0.99) ?? 0 },
    ]);
    return Object.fromEntries(entries);
  }

  #all(stats: ValueStats, activeNodes: number): ElCacheMetric[] {
    const counter = (name: string, text: string, value: number): ElCacheMetric => ({ name, kind: "counter", text, value });
    const gauge = (name: string, text: string, value: number): ElCacheMetric => ({ name, kind: "gauge", text, value });
    const histogram = (name: string, text: string, value: HistogramSeries): ElCacheMetric => ({
      name,
      kind: "histogram",
      text,
      value,
    });
    return [
      counter("elcache_cache_hits_total", "Total number of cache hits", stats.hits),
      counter("elcache_cache_misses_total", "Total number of cache misses", stats.misses),
      counter("elcache_cache_partial_hits_total", "Total number of partial hits", 0),
      counter("elcache_bytes_read_total", "Total bytes read", stats.bytesRead),
      counter("elcache_bytes_written_total", "Total bytes written", stats.bytesWritten),
      gauge("elcache_memory_cache_size_bytes", "Memory cache usage in bytes", 0),
      gauge("elcache_memory_cache_capacity_bytes", "Memory cache capacity in bytes", 0),
      gauge("elcache_disk_cache_size_bytes", "Disk cache usage in bytes", stats.sizeBytes),
      gauge("elcache_disk_cache_capacity_bytes", "Disk cache capacity in bytes", stats.capacityBytes),
      histogram("elcache_get_latency_ms", "Get operation latency in milliseconds", this.get),
      histogram("elcache_put_latency_ms", "Put operation latency in milliseconds", this.put),
      gauge("elcache_cluster_nodes_active", "Active cluster nodes", activeNodes),
      gauge("elcache_uptime_seconds", "Server uptime in seconds", Math.floor((this.nowMs() - this.#startedMs) / 1_000)),
    ];
  }
}

function textOf({ name, kind, text, value }: ElCacheMetric): string {
  const head = `# HELP ${name} ${text}\n# TYPE ${name} ${kind}\n`;
  if (typeof value === "number") return `${head}${name} ${value}\n`;
  let below = 0;
  const buckets = [...LATENCY_MS, "+Inf"].map((bound, at) => {
    below += value.counts[at]!;
    return `${name}_bucket{le="${bound}"} ${below}\n`;
  });
  return `${head}${buckets.join("")}${name}_sum ${value.sum}\n${name}_count ${value.count}\n`;
}
