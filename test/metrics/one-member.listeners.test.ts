import { type MetricDeclaration, metricList, prometheusLabel, prometheusName } from "@frontcache/server/testing";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { MemberInProcess } from "../e2e/member-in-process.js";
import { connectClient, temporaryDirectory } from "../e2e/member-process.js";
import { OtlpReceiver } from "../emulators/otlp.js";
import { S3Emulator } from "../emulators/s3.js";
import { scrape, sumOf } from "./scrape.js";

const declared = Object.values(metricList as Record<string, MetricDeclaration>);

/** Number of objects that must not add series; long runs use FRONTCACHE_METRICS_OBJECTS=10000. */
const OBJECTS = Number(process.env.FRONTCACHE_METRICS_OBJECTS ?? 300);

/** Requests the first bytes of an object without the retries of a client; resolves with the status. */
async function readOnce(member: MemberInProcess, key: string, length: number, version?: string): Promise<number> {
  const condition = version === undefined ? {} : { "if-match": `"${version}"` };
  const headers = { range: `bytes=0-${length - 1}`, connection: "close", ...condition };
  const response = await fetch(`http://${member.http}/s3/bucket/${key}`, { headers });
  await response.arrayBuffer();
  return response.status;
}

describe("a member's metrics", { timeout: 180_000 + 20 * OBJECTS }, () => {
  let origin: S3Emulator;
  let directory: Awaited<ReturnType<typeof temporaryDirectory>>;

  beforeAll(async () => {
    [origin, directory] = [await S3Emulator.start(), await temporaryDirectory()];
  });

  afterEach(() => vi.unstubAllEnvs());

  afterAll(async () => {
    await origin[Symbol.asyncDispose]();
    await directory[Symbol.asyncDispose]();
  });

  function start(env: Record<string, string> = {}, ...flags: string[]): Promise<MemberInProcess> {
    // OpenTelemetry's packages read the environment of the process.
    for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
    return MemberInProcess.start({ endpoint: origin.endpoint, cacheDirectory: `${directory.path}:64MiB`, flags });
  }

  it("are all on /metrics, with their type, their declared labels and correct values", async () => {
    const version = origin.putRamp("bucket", "counted", 1_000);
    // Some metrics have a series for each bucket of values.
    await using member = await start({}, "--cache-bucket", "values");
    const read = () => readOnce(member, "counted", 100, version);
    await read();
    await expect.poll(async () => sumOf(await scrape(member.http), "frontcache_volume_blocks")).toBe(1);
    await read();
    await read();
    expect(await readOnce(member, "missing", 100)).toBe(404);
    const scraped = await scrape(member.http);

    const types = { counter: "counter", upDownCounter: "gauge", gauge: "gauge", histogram: "histogram" };
    for (const metric of declared) {
      const name = prometheusName(metric);
      expect([name, scraped.types.get(name)]).toEqual([name, types[metric.kind]]);
      const first = scraped.series.find((series) => series.name === (metric.kind === "histogram" ? `${name}_count` : name));
      expect([name, Object.keys(first!.labels)]).toEqual([name, Object.keys(metric.labels).map(prometheusLabel)]);
    }
    const sum = (name: string, labels?: Record<string, string>): number => sumOf(scraped, `frontcache_${name}`, labels);
    expect([sum("reads_total", { result: "hit" }), sum("reads_total", { result: "filled" }), sum("reads_total")]).toEqual([
      2, 1, 3,
    ]);
    expect([sum("read_io_bytes_total"), sum("read_saved_bytes_total")]).toEqual([300, 200]);
    expect([sum("read_duration_seconds_count"), sum("read_duration_seconds_bucket", { le: "+Inf" })]).toEqual([3, 3]);
    expect(sum("read_errors_total", { error_type: "NOT_FOUND" })).toBe(1);
    expect(sum("origin_requests_total", { operation: "fetch", outcome: "ok" })).toBe(1);
    expect(sum("origin_io_bytes_total")).toBe(1_000);
    expect(sumOf(scraped, "target_info", { service_name: "frontcache" })).toBe(1);
  });

  it("have a number of series that does not grow with the objects read", async () => {
    await using member = await start();
    for (let i = 0; i < OBJECTS; i++) origin.put("bucket", `many/${i}`, "x");
    const before = await scrape(member.http);
    await using client = await connectClient({ endpoint: member.grpc });
    let next = 0;
    const reader = async (): Promise<void> => {
      while (next < OBJECTS) await client.readRange(`s3://bucket/many/${next++}`, 0, 1);
    };
    await Promise.all(Array.from({ length: 32 }, reader));
    const after = await scrape(member.http);
    // On a busy machine the client may retry.
    expect(sumOf(after, "frontcache_reads_total")).toBeGreaterThanOrEqual(OBJECTS);
    expect(after.series.length).toBe(before.series.length);
  });

  it("are exported a last time when it shuts down, including the last reads", async () => {
    const version = origin.putRamp("bucket", "last", 1_000);
    await using receiver = await OtlpReceiver.start();
    await using member = await start({
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint,
      OTEL_METRIC_EXPORT_INTERVAL: "3600000",
      OTEL_SERVICE_NAME: "cache-under-test",
      OTEL_RESOURCE_ATTRIBUTES: "deployment.environment.name=test",
      FRONTCACHE_NAME: "member-a",
    });
    expect(await readOnce(member, "last", 1_000, version)).toBe(206);
    expect(receiver.exports).toEqual([]);
    expect(await member.stop()).toBe(0);
    expect(receiver.exports.map(({ resource }) => resource)).toEqual([
      {
        "service.name": "cache-under-test",
        "service.instance.id": "member-a",
        "service.version": "0.1.0",
        "deployment.environment.name": "test",
      },
    ]);
    const reads = receiver.exports[0]!.metrics.find(({ name }) => name === "frontcache.reads")!;
    expect(reads.points.filter(({ value }) => value > 0)).toEqual([{ labels: { result: "filled" }, value: 1 }]);
  });

  it("that no collector accepts are logged once and disturb neither service nor shutdown", async () => {
    await using member = await start({
      OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:9",
      OTEL_METRIC_EXPORT_INTERVAL: "200",
      OTEL_EXPORTER_OTLP_TIMEOUT: "100",
    });
    const logged = () => member.log.filter(({ event }) => event === "metrics-not-exported").length;
    await expect.poll(logged, { timeout: 90_000 }).toBe(1);
    expect(await member.stop()).toBe(0);
    expect(logged()).toBe(1);
  });
});
