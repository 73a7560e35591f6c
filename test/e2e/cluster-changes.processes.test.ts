import type { CacheClient } from "@frontcache/client";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hostOf, namesOf } from "./addresses.js";
import { Cluster } from "./cluster.js";
import { EmulatedPods } from "./cluster-pods.js";
import { Readers } from "./cluster-readers.js";
import { MAX_STRAYS } from "./origin-fetches.js";
import { BLOCK_BYTES, readAll, readFrom, type TestObject } from "./test-objects.js";

const KiB = 1 << 10;
const OBJECTS = 4;
const BLOCKS = 20;

/** Small reads, so that the number of reads determines the load. */
const load = { readers: 4, bytes: 16 * KiB };

describe("a cluster whose pods change", () => {
  let cluster: Cluster;
  let objects: TestObject[];
  let client: CacheClient;

  beforeAll(async () => {
    cluster = await Cluster.start({
      names: namesOf(3),
      processes: ["cache-2"],
      pods: ({ directory }) => EmulatedPods.start(directory),
    });
    objects = cluster.put(OBJECTS, BLOCKS);
    client = await cluster.client();
    await readAll(client, objects);
  });

  afterAll(() => cluster?.[Symbol.asyncDispose]());

  const byRing = (object: TestObject, { offset, length }: { offset: number; length: number }): Promise<Buffer> =>
    client.readRange(object.url, offset, length, object.version);

  /** Resolves when the client has the members' current list. */
  const followed = (): Promise<void> =>
    expect
      .poll(() => client.members().map(({ name }) => name), { timeout: 90_000 })
      .toEqual(cluster.names) as unknown as Promise<void>;

  /** Returns the owners of 2,000 blocks by a member's list; the member's own answers about some of them must agree. */
  async function owners(): Promise<string[]> {
    const list = await cluster.listedBy("cache-0", cluster.names);
    const blocks = Array.from({ length: 2_000 }, (_, at) => ({
      key: `s3://bucket/owned-${at % 100}`,
      offset: Math.floor(at / 100) * BLOCK_BYTES,
    }));
    const byList = blocks.map(({ key, offset }) => list.owner(key, offset)!.grpcAddress);
    const some = blocks.slice(0, 100);
    const answered = await cluster.talk("cache-0", (member) =>
      Promise.all(
        some.map(
          (block) =>
            new Promise<string>((resolve, reject) =>
              member.lookupOwner(block, (error, owner) => (error === null ? resolve(owner.addr) : reject(error))),
            ),
        ),
      ),
    );
    expect(answered).toEqual(byList.slice(0, some.length));
    return byList;
  }

  it("moves 1/(n+1) of the blocks to a joining member without origin requests", async () => {
    const before = await owners();
    cluster.forget();
    await cluster.join({ name: "cache-3", host: hostOf(3) });
    await cluster.agreed();
    await followed();
    const after = await owners();
    const moved = after.filter((owner, at) => owner !== before[at]);
    console.info(`joining moved ${((100 * moved.length) / after.length).toFixed(1)} % of the blocks (1/4 is 25 %)`);
    expect(moved.every((owner) => owner === cluster.addressOf("cache-3"))).toBe(true);
    expect(Math.abs(moved.length / after.length - 1 / 4)).toBeLessThan(0.03);
    await readAll(client, objects);
    console.info(`joining: ${cluster.fetches.length} GETs`);
    expect(cluster.fetches.length).toBeLessThanOrEqual(MAX_STRAYS + cluster.mostUnneeded);
    await expect.poll(() => cluster.cachedBlocks("cache-3")).toBeGreaterThan(0);
  });

  it("fails no read when a member shuts down, and fetches again at most the blocks that it had cached", async () => {
    const share = await cluster.cachedBlocks("cache-1");
    cluster.forget();
    await using readers = new Readers(byRing, objects, load);
    await readers.more(100);
    expect(await cluster.shutDown("cache-1")).toBe(0);
    await cluster.agreed();
    await readers.more(100);
    const { failed, wrong, reads, slowestMs } = await readers.stop();
    await readAll(client, objects);
    console.info(
      `shutdown: ${reads} reads meanwhile, the slowest ${slowestMs} ms; ${cluster.fetches.length} GETs of ${share} blocks`,
    );
    expect({ failed, wrong }).toEqual({ failed: [], wrong: 0 });
    expect(cluster.fetches.length).toBeLessThanOrEqual(share + cluster.mostUnneeded);
  });

  it("fails no read and fetches no cached block again during a rolling restart", async () => {
    cluster.forget();
    await using readers = new Readers(byRing, objects, load);
    for (const name of cluster.names) {
      const host = cluster.hostOf(name);
      expect(await cluster.shutDown(name)).toBe(0);
      await cluster.join({ name, host });
      await cluster.agreed();
    }
    const { failed, wrong, reads, slowestMs } = await readers.stop();
    console.info(`rolling restart: ${reads} reads, the slowest ${slowestMs} ms; ${cluster.fetches.length} GETs`);
    expect({ failed, wrong }).toEqual({ failed: [], wrong: 0 });
    expect(cluster.fetches.length).toBeLessThanOrEqual(MAX_STRAYS + cluster.mostUnneeded);
  });

  it("fails no read when a member is killed, while it is absent and after it returns", async () => {
    const reports = await cluster.talk("cache-0", async (member) => {
      await using straight = new Readers(byRing, objects, load);
      // Like a client that can connect only to a Service: this member forwards.
      await using forwarded = new Readers((object, range) => readFrom(member, object, range), objects, load);
      const readers = [straight, forwarded];
      const more = (reads: number): Promise<unknown> => Promise.all(readers.map((each) => each.more(reads)));
      await more(100);
      await cluster.kill("cache-2");
      await more(200);
      await cluster.startAgain("cache-2");
      await more(100);
      return Promise.all(readers.map((each) => each.stop()));
    });
    for (const { reads, failed, wrong, slowestMs } of reports) {
      console.info(`kill -9: ${reads} reads, the slowest ${slowestMs} ms`);
      expect({ failed, wrong }).toEqual({ failed: [], wrong: 0 });
    }
  });

  it("keeps the blocks of a pod that returns with the same name and a new address", async () => {
    const cached = await cluster.cachedBlocks("cache-3");
    expect(await cluster.shutDown("cache-3")).toBe(0);
    await cluster.join({ name: "cache-3", host: "127.0.1.3" });
    await cluster.agreed();
    await followed();
    cluster.forget();
    await readAll(client, objects);
    expect(cluster.fetches.length).toBeLessThanOrEqual(MAX_STRAYS + cluster.mostUnneeded);
    expect(await cluster.cachedBlocks("cache-3")).toBeGreaterThanOrEqual(cached);
  });
});

describe("a cluster whose Kubernetes API is unavailable", () => {
  it("keeps serving reads and its member list, and has the correct ring after the API returns", async () => {
    let pods!: EmulatedPods;
    await using cluster = await Cluster.start({
      names: namesOf(3),
      processes: ["cache-1"],
      pods: async ({ directory }) => {
        pods = await EmulatedPods.start(directory);
        return pods;
      },
    });
    const objects = cluster.put(2, 10);
    const client = await cluster.client();
    await readAll(client, objects);
    await using readers = new Readers(
      ({ url, version }, { offset, length }) => client.readRange(url, offset, length, version),
      objects,
      load,
    );
    await pods.api.down();
    await readers.more(200);
    // Meanwhile one member crashes and another one joins. No member learns of it, and the new one is not ready without a list.
    await cluster.kill("cache-1");
    const starting = [cluster.startAgain("cache-1"), cluster.join({ name: "cache-3", host: hostOf(3) })];
    await readers.more(200);
    for (const name of ["cache-0", "cache-2"]) await cluster.listedBy(name, namesOf(3));
    await pods.api.up();
    await Promise.all(starting);
    await cluster.agreed(namesOf(4));
    await readers.more(200);
    const { failed, wrong, slowestMs } = await readers.stop();
    console.info(`API unavailable: the slowest read ${slowestMs} ms`);
    expect({ failed, wrong }).toEqual({ failed: [], wrong: 0 });
  });
});
