import { describe, expect, it } from "vitest";
import { type MetricDeclaration, prometheusLabel, prometheusName } from "./declaration.js";
import { metricList } from "./metric-list.js";

const all: MetricDeclaration[] = Object.values(metricList);

describe("every metric", () => {
  it("has a unique name by OpenTelemetry's rules, also in Prometheus", () => {
    for (const { name } of all) expect(name).toMatch(/^[a-z][a-z0-9]*(\.[a-z0-9_]+)+$/);
    expect(new Set(all.map(({ name }) => name)).size).toBe(all.length);
    expect(new Set(all.map(prometheusName)).size).toBe(all.length);
  });

  it("has a unit and a description of one sentence", () => {
    for (const { unit, text } of all) {
      expect(unit).toMatch(/^(s|By|1|\{[a-z]+\})$/);
      expect(text).toMatch(/^[A-Z1].*\.$/);
    }
  });

  it("has labels with at most 20 values, known at the start", () => {
    for (const { labels } of all) {
      for (const [name, values] of Object.entries(labels)) {
        expect(name).toMatch(/^[a-z]+(\.[a-z]+)?$/);
        if (values !== "configured") expect(values.length).toBeLessThanOrEqual(20);
        expect(new Set(values).size === values.length || values === "configured").toBe(true);
      }
    }
  });

  it("has ascending boundaries if it is a histogram", () => {
    for (const metric of all) {
      if (metric.kind !== "histogram") continue;
      expect(metric.boundaries).toEqual(metric.boundaries.toSorted((a, b) => a - b));
      expect(metric.unit).toBe("s");
    }
  });
});

describe("Prometheus's name", () => {
  it("contains the unit as a word, and ends with _total for counters, once", () => {
    expect(prometheusName(metricList.reads)).toBe("frontcache_reads_total");
    expect(prometheusName(metricList.readIo)).toBe("frontcache_read_io_bytes_total");
    expect(prometheusName(metricList.readDuration)).toBe("frontcache_read_duration_seconds");
    expect(prometheusName(metricList.highWatermark)).toBe("frontcache_volume_high_watermark_ratio");
    expect(prometheusName(metricList.ringMembers)).toBe("frontcache_ring_members");
    expect(prometheusLabel("error.type")).toBe("error_type");
  });
});
