import { mkdir, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { CacheServiceClient } from "@frontcache/client/grpc";
import type { ReadRangeResponse } from "@frontcache/proto";
import { type MetricDeclaration, metricList, readResults } from "@frontcache/server/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hostOf, namesOf } from "../e2e/addresses.js";
import { Cluster } from "../e2e/cluster.js";
import { EmulatedPods, type Place } from "../e2e/cluster-pods.js";
import { BLOCK_BYTES, readFrom, type TestObject } from "../e2e/test-objects.js";
import { OtlpReceiver } from "../emulators/otlp.js";
import { rampBytes } from "../emulators/s3.js";
import { scrape, sumOf } from "./scrape.js";

const INTERVAL_MS = 500;

const declared = Object.values(metricList as Record<string, MetricDeclaration>);

/**
 * Metrics that may be 0 when they are exported: momentary states, TLS, values and origin credentials of principals (not used by this
 * cluster), failures, and leases (a record is never fresh with --revalidate-after 0).
 */
const momentary = new Set<string>(
  [
    metricList.fillsRunning,
    metricList.fillsWaiting,
    metricList.fillMemory,
    metricList.originsUnavailable,
    metricList.originVerdicts,
    metricList.objectLeases,
    metricList.objectTakeovers,
    metricList.volumeReserved,
    metricList.references,
    metricList.loopDelayP50,
    metricList.loopDelayP99,
    metricList.loopDelayMax,
    metricList.loopUtilization,
    metricList.authenticationFailures,
    metricList.authorizationDecisions,
    metricList.memberRefusals,
    metricList.originTlsFailures,
    metricList.tlsHandshakeFailures,
    metricList.tlsCertificateExpiry,
    metricList.membershipFailures,
    metricList.values,
    metricList.valueSize,
    metricList.valueBucketUsage,
    metricList.valueBucketLimit,
    metricList.valueReads,
    metricList.valueWrites,
    metricList.valuesGone,
    metricList.valuesUnderReplicated,
    metricList.valuesCopied,
  ].map(({ name }) => name),
);

/** Label values that must have been exported. */
const labelled = [
  ...readResults.map((result) => `frontcache.reads ${result}`),
  ...["asked", "midway"].map((stage) => `frontcache.failovers ${stage}`),
  ...["answered", "unreachable"].map((outcome) => `frontcache.forwards ${outcome}`),
  "frontcache.limits.reached origin_wait",
  "frontcache.read.errors NOT_FOUND",
  "frontcache.read.errors RESOURCE_EXHAUSTED",
];

describe("a run that exercises all metrics", () => {
  let cluster: Cluster;
  let receiver: OtlpReceiver;

  beforeAll(async () => {
    receiver = await OtlpReceiver.start();
    process.env.OTEL_EXPORTER_OTLP_ENDPOINT = receiver.endpoint;
    process.env.OTEL_METRIC_EXPORT_INTERVAL = String(INTERVAL_MS);
    cluster = await Cluster.start({
      names: namesOf(3),
      processes: ["cache-3"],
      volumeSize: "8MiB",
      flags: ["--hedge", "true", "--origin-concurrency", "4", "--origin-max-wait", "400ms", "--revalidate-after", "0"],
      pods: async ({ directory, places }) => {
        await Promise.all(places.map((place) => leaveDamage(directory, place)));
        return EmulatedPods.start(directory);
      },
    });
  });

  afterAll(async () => {
    delete process.env.OTEL_EXPORTER_OTLP_ENDPOINT;
    delete process.env.OTEL_METRIC_EXPORT_INTERVAL;
    await cluster?.[Symbol.asyncDispose]();
    await receiver?.[Symbol.asyncDispose]();
  });

  /** Returns the names, and names with label values, that no process has exported with a value other than 0. */
  const unseen = (): string[] => {
    const seen = new Set<string>();
    for (const { name, points } of receiver.exports.flatMap(({ metrics }) => metrics)) {
      for (const { labels, value } of points) {
        if (value === 0) continue;
        seen.add(name);
        for (const each of Object.values(labels)) seen.add(`${name} ${each}`);
      }
    }
    const names = declared.map(({ name }) => name).filter((name) => !momentary.has(name));
    return [...names, ...labelled].filter((required) => !seen.has(required));
  };

  it("exports every declared metric to the collector with its declared name, unit and labels", async () => {
    await exerciseAll(cluster);
    await expect.poll(unseen, { timeout: 90_000, interval: INTERVAL_MS / 5 }).toEqual([]);
    for (const { resource, metrics } of receiver.newest.values()) {
      expect(resource["service.name"]).toBe("frontcache");
      const received = metrics.map(({ name, unit, text, kind }) => ({ name, unit, text, kind }));
      expect(received).toEqual(declared.map(({ name, unit, text, kind }) => ({ name, unit, text, kind })));
      for (const { points, name } of metrics) {
        const { labels } = declared.find((each) => each.name === name)!;
        for (const point of points) expect(Object.keys(point.labels)).toEqual(Object.keys(labels));
      }
      expect(new Set(metrics.map(({ temporality }) => temporality))).toEqual(new Set(["CUMULATIVE", undefined]));
    }
  });

  it("exports the same values to a collector and to Prometheus", async () => {
    const [name] = cluster.names;
    const scraped = await scrape(cluster.member(name!).http);
    await expect
      .poll(() => {
        const { points } = receiver.newest.get(name!)!.metrics.find((metric) => metric.name === "frontcache.read.io")!;
        return points.reduce((sum, { value }) => sum + value, 0);
      })
      .toBe(sumOf(scraped, "frontcache_read_io_bytes_total"));
  });
});

/** Creates a file in a member's directory that is as long as a block's, but has none of the footers. */
async function leaveDamage(directory: string, { name }: Place): Promise<void> {
  const folder = join(directory, name, "v1", "ab");
  await mkdir(folder, { recursive: true });
  const path = join(folder, `ab${"0".repeat(30)}.blk`);
  await writeFile(path, "no block");
  await truncate(path, 2 * BLOCK_BYTES);
}

async function exerciseAll(cluster: Cluster): Promise<void> {
  const objects = cluster.put(4, 10);
  const owned = await ownedBlocks(cluster, objects);
  const first = cluster.names[0]!;
  await cluster.talk(first, async (member) => {
    // Fills and forwarded reads until the volumes overflow. Failed requests are retried.
    cluster.origin.faults.place({ error: { status: 503, code: "SlowDown" }, times: 1 });
    for (const { object, offset } of owned) await readFrom(member, object, { offset, length: BLOCK_BYTES });
    const own = owned.findLast(({ owner }) => owner === first)!;
    const range = { offset: own.offset, length: BLOCK_BYTES };
    await readFrom(member, own.object, range);
    await readFrom(member, { ...own.object, url: "s3://bucket/missing", version: "" }, range).catch(() => {});
    await longHeaders(cluster, member);
    await staleRead(cluster, member);
    await joinedReads(cluster, member);
    await hedgedRead(cluster, member);
    await limitedReads(cluster, member);
  });
  await handover(cluster, owned.at(-1)!);
  await cluster.join({ name: "cache-3", host: hostOf(3) });
  await cluster.agreed();
  await lostMidway(cluster, first);
}

interface Owned {
  readonly object: TestObject;
  readonly offset: number;
  /** Returns the owner's name. */
  readonly owner: string;
}

async function ownedBlocks(cluster: Cluster, objects: readonly TestObject[]): Promise<Owned[]> {
  const list = await cluster.listedBy(cluster.names[0]!, cluster.names);
  return objects.flatMap((object) =>
    Array.from({ length: object.blocks }, (_, block) => {
      const offset = block * BLOCK_BYTES;
      return { object, offset, owner: list.owner(object.url, offset)!.name };
    }),
  );
}

/** Reads an object with more headers than are kept. */
async function longHeaders(cluster: Cluster, member: CacheServiceClient): Promise<void> {
  const headers = Object.fromEntries(Array.from({ length: 20 }, (_, at) => [`x-amz-meta-${at}`, "v".repeat(1_000)]));
  cluster.origin.put("bucket", "described", rampBytes(0, 7, 0), { headers });
  const object = { url: "s3://bucket/described", key: "described", version: "", blocks: 1, seed: 0 };
  await readFrom(member, object, { offset: 0, length: 7 });
}

/** Causes stale reads: while the origin is unreachable, cached blocks are served without confirmation of their version. */
async function staleRead(cluster: Cluster, member: CacheServiceClient): Promise<void> {
  const version = cluster.origin.putRamp("bucket", "stale", BLOCK_BYTES);
  const object = { url: "s3://bucket/stale", key: "stale", version: "", blocks: 1, seed: 0 };
  const range = { offset: 0, length: BLOCK_BYTES, forwarded: true };
  await readFrom(member, object, range);
  const cachedBytes = (): Promise<number> =>
    new Promise((resolve, reject) =>
      member.stat({ key: object.url, version, forwarded: false, checksums: false }, (error, { cachedBytes }) =>
        error === null ? resolve(cachedBytes) : reject(error),
      ),
    );
  await expect.poll(cachedBytes).toBe(BLOCK_BYTES);
  const lift = cluster.origin.faults.place({ error: { status: 503, code: "ServiceUnavailable" } });
  await readFrom(member, object, range);
  lift();
}

async function joinedReads(cluster: Cluster, member: CacheServiceClient): Promise<void> {
  const version = cluster.origin.putRamp("bucket", "joined", BLOCK_BYTES);
  const lift = cluster.origin.faults.place({ latencyMs: 500, when: ({ key }) => key === "joined" });
  const object = { url: "s3://bucket/joined", key: "joined", version, blocks: 1, seed: 0 };
  const read = () => readFrom(member, object, { offset: 0, length: BLOCK_BYTES, forwarded: true });
  await Promise.all([read(), read()]);
  lift();
}

async function hedgedRead(cluster: Cluster, member: CacheServiceClient): Promise<void> {
  for (let i = 0; i < 25; i++) {
    const version = cluster.origin.putRamp("bucket", `usual-${i}`, 1_000);
    const object = { url: `s3://bucket/usual-${i}`, key: "", version, blocks: 1, seed: 0 };
    await readFrom(member, object, { offset: 0, length: 1_000, forwarded: true });
  }
  const version = cluster.origin.putRamp("bucket", "late", 1_000);
  cluster.origin.faults.place({ latencyMs: 3_000, times: 1, when: ({ key }) => key === "late" });
  const object = { url: "s3://bucket/late", key: "late", version, blocks: 1, seed: 0 };
  await readFrom(member, object, { offset: 0, length: 1_000, forwarded: true });
}

/** Runs more concurrent reads than the origin limits allow. */
async function limitedReads(cluster: Cluster, member: CacheServiceClient): Promise<void> {
  const lift = cluster.origin.faults.place({ latencyMs: 1_000, when: ({ key }) => key.startsWith("limited") });
  const reads = Array.from({ length: 12 }, (_, i) => {
    const version = cluster.origin.putRamp("bucket", `limited-${i}`, 1_000);
    const object = { url: `s3://bucket/limited-${i}`, key: "", version, blocks: 1, seed: 0 };
    return readFrom(member, object, { offset: 0, length: 1_000, forwarded: true });
  });
  await Promise.allSettled(reads);
  lift();
}

/** Causes a peer fill: a member that does not own the block fetches it from the owner. */
async function handover(cluster: Cluster, { object, offset, owner }: Owned): Promise<void> {
  const other = cluster.names.find((name) => name !== owner)!;
  const range = { offset, length: BLOCK_BYTES, forwarded: true };
  await cluster.talk(owner, (member) => readFrom(member, object, range));
  await cluster.talk(other, (member) => readFrom(member, object, range));
}

/** Kills the owner while another member forwards its first bytes, and reads while the owner is unreachable. */
async function lostMidway(cluster: Cluster, first: string): Promise<void> {
  const version = cluster.origin.putRamp("bucket", "slow", 40 * BLOCK_BYTES);
  const slow: TestObject = { url: "s3://bucket/slow", key: "slow", version, blocks: 40, seed: 0 };
  const [victim, further] = (await ownedBlocks(cluster, [slow])).filter(({ owner }) => owner === "cache-3");
  const lift = cluster.origin.faults.place({ bytesPerSecond: 64 << 10, when: ({ key }) => key === "slow" });
  await cluster.talk(first, async (member) => {
    const call = member.readRange({
      key: slow.url,
      offset: victim!.offset,
      length: BLOCK_BYTES,
      version,
      forwarded: false,
      cachedOnly: false,
    });
    let bytes = 0;
    for await (const { data } of call as AsyncIterable<ReadRangeResponse>) {
      if (bytes === 0) {
        await cluster.process("cache-3").kill();
        lift();
      }
      bytes += data.length;
    }
    expect(bytes).toBe(BLOCK_BYTES);
  });
  // Another member tries to connect once and fails; then its circuit is open for a moment.
  await cluster.talk("cache-1", (member) => readFrom(member, slow, { offset: further!.offset, length: BLOCK_BYTES }));
}
