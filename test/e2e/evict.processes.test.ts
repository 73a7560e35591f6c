import type { EvictResponse } from "@frontcache/proto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { namesOf } from "./addresses.js";
import { Cluster } from "./cluster.js";
import { frontcache } from "./command-line.js";
import { BLOCK_BYTES, readFrom } from "./test-objects.js";

const BLOCKS = 12;

describe("evict at any of three members", () => {
  let cluster: Cluster;

  beforeAll(async () => {
    cluster = await Cluster.start({ names: namesOf(3), processes: [] });
  });
  afterAll(() => cluster?.[Symbol.asyncDispose]());

  /** Puts an object, or a new version of it, and has its blocks cached by the members; resolves with the version. */
  async function cached(key: string): Promise<string> {
    const version = cluster.origin.putRamp("bucket", key, BLOCKS * BLOCK_BYTES, 1);
    const object = { url: `s3://bucket/${key}`, key, version, blocks: BLOCKS, seed: 1 };
    const before = await counts();
    const list = await cluster.listedBy(cluster.names[0]!, cluster.names);
    for (let offset = 0; offset < BLOCKS * BLOCK_BYTES; offset += BLOCK_BYTES) {
      const owner = list.owner(object.url, offset)!.name;
      await cluster.talk(owner, (member) => readFrom(member, object, { offset, length: BLOCK_BYTES, forwarded: true }));
    }
    await expect.poll(async () => total(await counts()) - total(before)).toBe(BLOCKS);
    expect((await counts()).every((count, member) => count > before[member]!)).toBe(true);
    return version;
  }

  const counts = (): Promise<number[]> => Promise.all(cluster.names.map((name) => cluster.cachedBlocks(name)));
  const total = (numbers: readonly number[]): number => numbers.reduce((sum, number) => sum + number, 0);

  async function byCommand(...args: string[]): Promise<{ blocks: number }> {
    const { stdout, stderr, exitCode } = await frontcache(["evict", ...args, "--json"], {
      FRONTCACHE_ENDPOINT: cluster.addressOf(cluster.names[1]!),
    });
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
    return JSON.parse(stdout.toString());
  }

  function byCall(key: string, prefix: boolean, version: string): Promise<EvictResponse> {
    return cluster.talk(
      cluster.names[2]!,
      (client) =>
        new Promise((resolve, reject) => {
          client.evict({ key, prefix, version, forwarded: false }, (error, response) =>
            error ? reject(error) : resolve(response),
          );
        }),
    );
  }

  it.each(["the command line", "gRPC"])("removes one version, one URL or a prefix from all members, through %s", async (way) => {
    const evict = (url: string, version = "", prefix = false): Promise<{ blocks: number }> =>
      way === "gRPC"
        ? byCall(url, prefix, version)
        : byCommand(url, ...(prefix ? ["--prefix"] : []), ...(version === "" ? [] : ["--object-version", version]));
    const [old, current] = [await cached("a/one"), await cached("a/one")];
    await cached("a/two");
    await cached("b");
    expect(old).not.toBe(current);
    expect(await evict("s3://bucket/a/one", old)).toMatchObject({ blocks: BLOCKS });
    expect(await evict("s3://bucket/a/one", old)).toMatchObject({ blocks: 0 });
    expect(total(await counts())).toBe(3 * BLOCKS);
    expect(await evict("s3://bucket/a/", "", true)).toMatchObject({ blocks: 2 * BLOCKS });
    expect(await evict("s3://bucket/b")).toMatchObject({ blocks: BLOCKS });
    expect(await counts()).toEqual([0, 0, 0]);
  });
});
