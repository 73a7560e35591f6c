import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hostOf, namesOf } from "./addresses.js";
import { Cluster } from "./cluster.js";
import { staticPods } from "./cluster-pods.js";
import { BLOCK_BYTES, isRight, readAll, readFrom, type TestObject } from "./test-objects.js";

const KiB = 1 << 10;
const MEMBERS = 5;
const OBJECTS = 10;
const BLOCKS = 20;

const sum = (counts: readonly number[]): number => counts.reduce((all, count) => all + count, 0);

describe("five members that share 200 blocks", () => {
  let cluster: Cluster;
  let objects: TestObject[];

  beforeAll(async () => {
    cluster = await Cluster.start({ names: namesOf(MEMBERS) });
    objects = cluster.put(OBJECTS, BLOCKS);
  });

  afterAll(() => cluster?.[Symbol.asyncDispose]());

  it("fill each block once on exactly one member; the largest share is at most 1.25 times the mean", async () => {
    await readAll(await cluster.client(), objects);
    const blocks = new Set(cluster.fetches.map(({ block }) => block));
    expect(blocks.size).toBe(OBJECTS * BLOCKS);
    expect(cluster.fetches.length - blocks.size).toBeLessThanOrEqual(cluster.mostUnneeded);
    const shares = cluster.names.map((name) => cluster.fetches.filter(({ member }) => member === name).length);
    const largest = Math.max(...shares) / ((OBJECTS * BLOCKS) / MEMBERS);
    console.info(`shares of ${OBJECTS * BLOCKS} blocks: ${shares.join(", ")}; the largest over the mean: ${largest.toFixed(2)}`);
    expect(largest).toBeLessThanOrEqual(1.25);
    await expect.poll(() => Promise.all(cluster.names.map((name) => cluster.cachedBlocks(name)))).toEqual(shares);
  });

  it("answer reads of every block at every member with one hop to its owner and without another fill", async () => {
    cluster.forget();
    const cached = await Promise.all(cluster.names.map((name) => cluster.cachedBlocks(name)));
    for (const name of cluster.names) {
      await cluster.talk(name, async (client) => {
        const reads = objects.flatMap((object) => Array.from({ length: BLOCKS }, (_, block) => ({ object, block })));
        await Promise.all(
          reads.map(async ({ object, block }) => {
            const range = { offset: block * BLOCK_BYTES + 7, length: KiB };
            expect(isRight(await readFrom(client, object, range), object, range)).toBe(true);
          }),
        );
      });
    }
    expect(cluster.fetches.length).toBeLessThanOrEqual(cluster.mostUnneeded);
    const blocks = async (): Promise<number> => sum(await Promise.all(cluster.names.map((name) => cluster.cachedBlocks(name))));
    expect((await blocks()) - sum(cached)).toBeLessThanOrEqual(cluster.mostUnneeded);
  });

  it("never forward a read that another member forwarded", async () => {
    const key = "forwarded";
    const version = cluster.origin.putRamp("bucket", key, BLOCK_BYTES, 1);
    const object = { url: `s3://bucket/${key}`, key, version, blocks: 1, seed: 1 };
    const blocks = async (): Promise<number> => sum(await Promise.all(cluster.names.map((name) => cluster.cachedBlocks(name))));
    const before = await blocks();
    for (const name of cluster.names) {
      const range = { offset: 0, length: KiB, forwarded: true };
      const bytes = await cluster.talk(name, (client) => readFrom(client, object, range));
      expect(isRight(bytes, object, range)).toBe(true);
    }
    for (const name of cluster.names) {
      const headers = { Range: `bytes=0-${KiB - 1}`, "frontcache-forwarded": "1" };
      const response = await fetch(`http://${cluster.hostOf(name)}:${cluster.port + 1}/s3/bucket/${key}`, { headers });
      expect(isRight(Buffer.from(await response.arrayBuffer()), object, { offset: 0, length: KiB })).toBe(true);
    }
    // Each had to fill its own copy.
    await expect.poll(async () => (await blocks()) - before).toBe(MEMBERS);
  });
});

describe("two members that disagree about the ring", () => {
  it("answer every read with the correct bytes and never forward in a circle", async () => {
    // Each knows the other one under another name, so for many blocks each considers the other one the owner.
    const believed: Record<string, string[]> = { a: ["a", "b"], d: ["c", "d"] };
    await using cluster = await Cluster.start({
      names: ["a", "d"],
      pods: async ({ places, port }) =>
        staticPods(places, port, (name) => believed[name]!.map((known, index) => ({ name: known, host: hostOf(index) }))),
    });
    const objects = cluster.put(2, 20);
    for (const name of cluster.names) {
      await cluster.talk(name, async (client) => {
        for (const object of objects) {
          const range = { offset: 0, length: 20 * BLOCK_BYTES };
          expect(isRight(await readFrom(client, object, range), object, range)).toBe(true);
        }
      });
    }
    // At worst both members fill it.
    const fills = new Map<string, number>();
    for (const { block } of cluster.fetches) fills.set(block, (fills.get(block) ?? 0) + 1);
    console.info(`${fills.size} blocks, ${cluster.fetches.length} GETs`);
    expect(fills.size).toBe(40);
    expect(Math.max(...fills.values())).toBeLessThanOrEqual(2);
  });
});
