import type { ClusterReport } from "@frontcache/server/testing";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { namesOf } from "./addresses.js";
import { Cluster } from "./cluster.js";
import { staticPods } from "./cluster-pods.js";
import { frontcache } from "./command-line.js";
import { MAX_STRAYS } from "./origin-fetches.js";
import { BLOCK_BYTES } from "./test-objects.js";

const OBJECTS = 200;
const SMALL = 20_000;
const LARGE = 2 * BLOCK_BYTES + 5;
const urls = Array.from({ length: OBJECTS }, (_, at) => `s3://bucket/prefix/object-${String(at).padStart(3, "0")}`);
/** One of 20 objects is large: three blocks. */
const sizeOf = (at: number): number => (at % 20 === 0 ? LARGE : SMALL);
const BLOCKS = urls.reduce((sum, _, at) => sum + Math.ceil(sizeOf(at) / BLOCK_BYTES), 0);
const BYTES = urls.reduce((sum, _, at) => sum + sizeOf(at), 0);

let cluster: Cluster;

beforeAll(async () => {
  cluster = await Cluster.start({
    names: namesOf(3),
    processes: [],
    pods: async ({ places, port }) => staticPods(places, port, undefined, true),
  });
  for (const [at, url] of urls.entries()) cluster.origin.putRamp("bucket", url.slice("s3://bucket/".length), sizeOf(at), at);
});

afterAll(() => cluster?.[Symbol.asyncDispose]());

/** Each test begins with an empty cache. */
beforeEach(async () => {
  await (await cluster.client()).evict({ prefix: "s3://bucket/" });
  cluster.forget();
});

/** Returns the number of fetched blocks, of fetches by other members than the owner, and of repeated fetches. */
async function fetched(): Promise<{ blocks: number; strays: number }> {
  const list = await cluster.listedBy(cluster.names[0]!, cluster.names);
  const blocks = new Set(cluster.fetches.map(({ block }) => block));
  const byOwner = cluster.fetches.filter(({ block, member }) => {
    const [key, offset] = block.split(":") as [string, string];
    return list.owner(`s3://bucket/${key}`, Number(offset))?.name === member;
  });
  const once = new Set(byOwner.map(({ block }) => block));
  return { blocks: blocks.size, strays: cluster.fetches.length - once.size };
}

describe("client.warm", () => {
  it("fetches every block of 200 objects once at its owner; later reads and warmings fetch nothing", async () => {
    const client = await cluster.client();
    const summary = await client.warm(urls, { concurrency: 8 });
    expect(summary).toMatchObject({ objects: OBJECTS, blocks: BLOCKS, totalBytes: BYTES, failed: 0, failures: [] });
    // If a call is retried because its member was too slow on a busy machine, the retry finds blocks of the first call.
    expect(summary.cachedBytes + summary.fetchedBytes).toBe(BYTES);
    const { blocks, strays } = await fetched();
    expect(blocks).toBe(BLOCKS);
    const { mostUnneeded } = cluster;
    expect(strays).toBeLessThanOrEqual(MAX_STRAYS + mostUnneeded);
    cluster.forget();
    const again = await client.warm(urls);
    expect(again).toMatchObject({ blocks: BLOCKS, totalBytes: BYTES, failed: 0 });
    expect(again.cachedBytes + again.fetchedBytes).toBe(BYTES);
    // Blocks that another member warmed because it found their owner unreachable.
    expect(again.fetchedBytes).toBeLessThanOrEqual((mostUnneeded + cluster.mostUnneeded) * BLOCK_BYTES);
    expect((await client.readRange(urls[0]!, 0, LARGE)).length).toBe(LARGE);
    expect(cluster.fetches.length).toBeLessThanOrEqual(cluster.mostUnneeded);
  });

  it("fetches nothing in a dry run, and reports the objects that cannot be warmed", async () => {
    const client = await cluster.client();
    const some = [urls[0]!, "s3://bucket/none", urls[1]!];
    const looked = await client.warm(some, { dryRun: true });
    expect(looked).toMatchObject({ objects: 3, fetchedBytes: LARGE + SMALL, failed: 1 });
    expect(looked.failures).toMatchObject([{ url: "s3://bucket/none", error: { code: "NOT_FOUND" } }]);
    expect(cluster.fetches.length).toBeLessThanOrEqual(cluster.mostUnneeded);
  });
});

describe("frontcache warm", () => {
  const run = (args: string[], input?: string) =>
    frontcache(["warm", ...args], { FRONTCACHE_ENDPOINT: cluster.addressOf(cluster.names[1]!) }, input);

  it("fetches each block under a prefix once, and nothing when it is repeated", async () => {
    const { exitCode, stdout, stderr } = await run(["s3://bucket/prefix/*"]);
    expect([exitCode, stderr]).toEqual([0, ""]);
    expect(stdout.toString()).toMatch(/^200 objects, 220 blocks: [\d.]+ MiB fetched, [\d.]+ \w+ already cached, [\d.]+ m?s\n$/);
    const { blocks, strays } = await fetched();
    const { mostUnneeded } = cluster;
    expect([blocks, strays <= MAX_STRAYS + mostUnneeded]).toEqual([BLOCKS, true]);
    cluster.forget();
    const again = JSON.parse((await run(["s3://bucket/prefix/", "--json"])).stdout.toString());
    expect(again).toMatchObject({ objects: OBJECTS, blocks: BLOCKS, failed: 0 });
    expect(again.cachedBytes + again.fetchedBytes).toBe(BYTES);
    expect(again.fetchedBytes).toBeLessThanOrEqual((mostUnneeded + cluster.mostUnneeded) * BLOCK_BYTES);
    expect(cluster.fetches.length).toBeLessThanOrEqual(cluster.mostUnneeded);
  });

  it("reads a manifest from standard input, and fetches nothing with --dry-run", async () => {
    const manifest = `# what is read first\n${urls[0]}\n\n  s3://bucket/prefix/object-01*\n`;
    const looked = await run(["-", "--dry-run"], manifest);
    expect(looked.stdout.toString()).toMatch(/^11 objects, 13 blocks: [\d.]+ MiB to fetch, 0 B already cached/);
    expect(cluster.fetches.length).toBeLessThanOrEqual(cluster.mostUnneeded);
    expect((await run(["-"], manifest)).exitCode).toBe(0);
    expect(new Set(cluster.fetches.map(({ block }) => block)).size).toBe(13);
    const wrong = await run(["-"], `${urls[1]}\nnonsense\n`);
    expect([wrong.exitCode, wrong.stderr]).toEqual([
      2,
      expect.stringMatching(/^frontcache: line 2 of the manifest: "nonsense" /),
    ]);
  });

  it("fetches all available objects, and gives a hint about the failures", async () => {
    const { exitCode, stdout, stderr } = await run([urls[1]!, "s3://bucket/prefix"]);
    expect(exitCode).toBe(3);
    expect(stdout.toString()).toMatch(/^2 objects, 1 block: 19\.5 KiB fetched/);
    expect(stderr).toMatch(
      /s3:\/\/bucket\/prefix: no such object[^\n]*\nfrontcache: 1 of 2 objects [^\n]*use s3:\/\/bucket\/prefix\*\n$/,
    );
    cluster.origin.faults.place({ when: ({ key }) => key === "denied", error: { status: 403, code: "AccessDenied" } });
    const denied = await run(["s3://bucket/denied"]);
    cluster.origin.faults.clear();
    expect(denied).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/: 1 of 1 object could not be fetched\n$/) });
    expect(await run(["s3://bucket/none/"])).toMatchObject({
      exitCode: 3,
      stderr: expect.stringContaining("no object found"),
    });
  });
});

describe("frontcache status", () => {
  it("shows every member with its share of the ring and its cached blocks, as a table or as the JSON of /status", async () => {
    const env = { FRONTCACHE_ENDPOINT: cluster.addressOf(cluster.names[0]!) };
    await (await cluster.client()).warm(urls.slice(0, 40));
    const { exitCode, stdout } = await frontcache(["status"], env);
    const lines = stdout.toString().trimEnd().split("\n");
    expect([exitCode, lines.length]).toEqual([0, 5]);
    expect(lines[0]).toMatch(/^MEMBER +ADDRESS +STATE +RING +BLOCKS +USED +OF +HITS +FILLS +UP$/);
    expect(lines[1]).toMatch(/^cache-0 +127\.0\.0\.2:\d+ +ready +3\d\.\d % +\d+ /);
    expect(lines[4]).toMatch(/^3 of 3 ready, [\d.]+ MiB of /);
    const { members } = JSON.parse((await frontcache(["status", "--json"], env)).stdout.toString());
    const all = members as ClusterReport["members"];
    const blocks = all.flatMap(({ report }) => report!.volumes).reduce((total, volume) => total + volume.blocks, 0);
    expect([blocks, all.reduce((total, { ringShare }) => total + ringShare, 0)]).toEqual([44, expect.closeTo(1)]);
    expect(all).toMatchObject(
      cluster.names.map((name) => ({ name, state: "ready", report: { notReady: [], membershipAgeMs: expect.any(Number) } })),
    );
  });
});
