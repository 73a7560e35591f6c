import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { BLOCK_BYTES, Cluster, MAX_STRAYS, namesOf } from "./cluster.js";

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
  cluster = await Cluster.start({ names: namesOf(3) });
  for (const [at, url] of urls.entries()) cluster.origin.putRamp("bucket", url.slice("s3://bucket/".length), sizeOf(at), at);
}, 30_000);

afterAll(() => cluster?.[Symbol.asyncDispose]());

/** Each test begins with nothing held. */
beforeEach(async () => {
  await (await cluster.client()).evict({ prefix: "s3://bucket/" });
  cluster.forget();
});

/** How many blocks were fetched, and how many of these fetches were not by the block's owner, or not its first. */
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
  it("has every block of 200 objects fetched once, by its owner, so that reads and a second warming fetch nothing", async () => {
    const client = await cluster.client();
    const summary = await client.warm(urls, { concurrency: 8 });
    expect(summary).toEqual({
      objects: OBJECTS,
      blocks: BLOCKS,
      heldBytes: 0,
      fetchedBytes: BYTES,
      totalBytes: BYTES,
      failed: 0,
      failures: [],
    });
    const { blocks, strays } = await fetched();
    expect(blocks).toBe(BLOCKS);
    expect(strays).toBeLessThanOrEqual(MAX_STRAYS);
    cluster.forget();
    expect(await client.warm(urls)).toMatchObject({ blocks: BLOCKS, heldBytes: BYTES, fetchedBytes: 0 });
    expect((await client.readRange(urls[0]!, 0, LARGE)).length).toBe(LARGE);
    expect(cluster.fetches).toEqual([]);
  }, 30_000);

  it("only looks, when that is all it is asked for, and says which objects can't be warmed", async () => {
    const client = await cluster.client();
    const some = [urls[0]!, "s3://bucket/none", urls[1]!];
    const looked = await client.warm(some, { dryRun: true });
    expect(looked).toMatchObject({ objects: 3, fetchedBytes: LARGE + SMALL, failed: 1 });
    expect(looked.failures).toMatchObject([{ url: "s3://bucket/none", error: { code: "NOT_FOUND" } }]);
    expect(cluster.fetches).toEqual([]);
  });
});
