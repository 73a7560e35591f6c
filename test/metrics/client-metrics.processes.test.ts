import { clientMetricList, registeredMetrics } from "@frontcache/client/testing";
import { metrics } from "@opentelemetry/api";
import {
  AggregationTemporality,
  DataPointType,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { connectClient, MemberProcess, temporaryDirectory } from "../e2e/member-process.js";
import { S3Emulator } from "../emulators/s3.js";

const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
let provider: MeterProvider;

beforeEach(() => {
  provider = new MeterProvider({ readers: [new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 })] });
});

afterEach(async () => {
  metrics.disable();
  await provider.shutdown();
  exporter.reset();
});

/** Returns the value or count of each series, by name and labels. */
async function counted(): Promise<Map<string, number>> {
  await provider.forceFlush();
  const found =
    exporter
      .getMetrics()
      .at(-1)
      ?.scopeMetrics.flatMap((scope) => scope.metrics) ?? [];
  return new Map(
    found.flatMap((metric) =>
      metric.dataPoints.map(({ attributes, value }) => [
        [metric.descriptor.name, ...Object.entries(attributes).map(([label, text]) => `${label}=${text}`)].join(" "),
        metric.dataPointType === DataPointType.HISTOGRAM ? (value as { count: number }).count : (value as number),
      ]),
    ),
  );
}

describe("a client's metrics", () => {
  it("count reads, bytes by transport, errors and failovers in the application's OpenTelemetry SDK", async () => {
    metrics.setGlobalMeterProvider(provider);
    await using origin = await S3Emulator.start();
    await using directory = await temporaryDirectory();
    await using member = await MemberProcess.start({ endpoint: origin.endpoint, cacheDirectory: directory.path });
    const version = origin.putRamp("bucket", "key", 1_000);
    const url = "s3://bucket/key";
    const { path } = directory;
    await using byHttp = await connectClient({ endpoint: member.grpc, transport: "http" });
    await using byGrpc = await connectClient({ endpoint: member.grpc, transport: "grpc" });
    await using byFile = await connectClient({ endpoint: member.grpc, localVolumes: [path] });

    await byHttp.readRange(url, 0, 100, version);
    await byGrpc.readRange(url, 0, 200, version);
    for await (const _ of byGrpc.stream(url, 0, 1_000, version));
    await expect(byHttp.readRange("s3://bucket/missing", 0, 1)).rejects.toThrow("no such object");
    await expect
      .poll(async () => {
        await byFile.readRange(url, 0, 300, version);
        return byFile.localReads().bytes;
      })
      .toBeGreaterThan(0);
    // The member has repeated the requests of a failed read: the client does not.
    origin.putRamp("bucket", "unlucky", 1_000);
    origin.faults.place({ error: { status: 503, code: "SlowDown" }, when: ({ key }) => key === "unlucky" });
    await expect(byGrpc.readRange("s3://bucket/unlucky", 0, 1)).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED" });
    expect((await counted()).get("frontcache.client.failovers reason=failed")).toBeUndefined();
    await member.kill();
    await expect(byGrpc.readRange(url, 0, 1, version, { deadlineMs: 2_000 })).rejects.toThrow(url);

    const { duration, io, requests } = clientMetricList;
    const series = await counted();
    expect(series.get("frontcache.client.failovers reason=unreachable")).toBeGreaterThan(0);
    expect(series.get(`${duration.name} operation=stream`)).toBe(1);
    expect(series.get(`${duration.name} operation=range error.type=NOT_FOUND`)).toBe(1);
    expect(series.get(`${requests.name} transport=http error.type=NOT_FOUND`)).toBe(1);
    expect(series.get(`${io.name} transport=grpc`)).toBe(1_200);
    expect(series.get(`${io.name} transport=file`)).toBe(300);
    expect(series.get(`${io.name} transport=http`)! % 300).toBe(100);
  });

  it("are not created if the application has no meter provider", () => {
    expect(registeredMetrics()).toBeUndefined();
    metrics.setGlobalMeterProvider(provider);
    expect(registeredMetrics()).toBeDefined();
  });
});
