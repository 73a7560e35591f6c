import { describe, expect, it } from "vitest";
import { HottestObjects } from "./hottest-objects.js";
import { Metrics } from "./metrics.js";
import { RecentErrors } from "./recent-errors.js";
import { HistogramSeries } from "./series.js";

describe("a histogram", () => {
  it("counts a value at a boundary in that bucket, and a value above all boundaries in the last", () => {
    const series = new HistogramSeries({}, [1, 2, 4]);
    for (const value of [0.5, 1, 1.5, 4, 5]) series.record(value);
    expect([...series.counts]).toEqual([2, 1, 1, 1]);
    expect([series.count, series.sum]).toEqual([5, 12]);
  });

  it("estimates quantiles within a bucket, and none before the first value", () => {
    const series = new HistogramSeries({}, [1, 2, 4]);
    expect(series.quantile(0.5)).toBeUndefined();
    for (let i = 0; i < 100; i++) series.record(i < 90 ? 1.5 : 100);
    expect(series.quantile(0.5)).toBeGreaterThan(1);
    expect(series.quantile(0.5)).toBeLessThanOrEqual(2);
    expect(series.quantile(0.99)).toBe(4);
  });
});

describe("a member's metrics", () => {
  it("have all their series from the start, one per volume if they are labelled by volume", () => {
    const { families } = new Metrics({ volume: ["/a", "/b", "/a"] }, 0);
    expect(families.volumeUsage.all.map(({ labels }) => labels.volume)).toEqual(["/a", "/b"]);
    expect(families.volumeState.all).toHaveLength(6);
    expect(families.reads.all.every(({ value }) => value === 0)).toBe(true);
  });

  it("reject an undeclared label value", () => {
    const { families } = new Metrics({ volume: ["/a"] }, 0);
    expect(() => families.volumeUsage.at({ volume: "/elsewhere" })).toThrow("frontcache.volume.usage has no series");
  });

  it("read the watched state before each collection", () => {
    const metrics = new Metrics({}, 0);
    metrics.beforeReading(() => metrics.families.mappings.at().add(1));
    metrics.read();
    expect(metrics.read().mappings.at().value).toBe(2);
  });
});

describe("the hottest objects", () => {
  it("contain every object with more than 1/capacity of the reads, in bounded memory", () => {
    const hottest = new HottestObjects(10);
    for (let i = 0; i < 5_000; i++) {
      hottest.touch(`s3://b/rare-${i}`, 1);
      if (i % 3 === 0) hottest.touch("s3://b/hot", 100);
    }
    expect(hottest.top(1)[0]!.url).toBe("s3://b/hot");
    expect(hottest.top(100)).toHaveLength(10);
  });

  it("forget objects that are no longer read", () => {
    const hottest = new HottestObjects(10);
    for (let i = 0; i < 8; i++) hottest.touch("s3://b/was-hot", 1);
    for (let i = 0; i < 5; i++) hottest.decay();
    expect(hottest.top(10)).toEqual([]);
  });

  it("sample one read in 16 under high load, and weight it", () => {
    const hottest = new HottestObjects(10);
    for (let i = 0; i < 10_000; i++) hottest.touch("s3://b/first", 1);
    hottest.decay();
    for (let i = 0; i < 1_600; i++) hottest.touch("s3://b/then", 10);
    expect(hottest.top(2)).toContainEqual({ url: "s3://b/then", reads: 1_600, bytes: 16_000 });
  });
});

describe("the recent errors", () => {
  it("are bounded in number, the newest first, with messages of bounded length", () => {
    const errors = new RecentErrors(3);
    for (let atMs = 1; atMs <= 5; atMs++) errors.add({ atMs, code: "UNAVAILABLE", url: "s3://b/k", message: "x".repeat(9_999) });
    expect(errors.list().map(({ atMs }) => atMs)).toEqual([5, 4, 3]);
    expect(errors.list()[0]!.message.length).toBeLessThan(3_000);
  });
});
