import type { CacheError } from "@frontcache/proto";
import { describe, expect, it } from "vitest";
import type { BlockStore, BucketShareSetting } from "../storage/block-store.js";
import { keep, testId, testInfo, testSegments } from "../testing/store-fixture.js";
import { bytesOf } from "../testing/value-bodies.js";
import { patterned, requestOf } from "../testing/value-samples.js";
import { ValuesCluster } from "../testing/values-cluster.js";

const KiB = 1 << 10;
/** A value of one block, which takes its bytes and a page on the disk. */
const SIZE = 60 * KiB;
const FILE = 64 * KiB;
/** Eight such values, and what is reserved while one is written. */
const SHARE = 8 * FILE + FILE / 2;

interface Opened {
  readonly cluster: ValuesCluster;
  /** Writes a value through the first member. Resolves with its code. */
  put(key: string, size?: number): Promise<string>;
  /** Reads a value through a member. Resolves with whether the bytes are right, or with the code of the error. */
  read(name: string, key: string): Promise<boolean | string>;
}

/** Two members that both keep all values, unless there are more. */
async function open(share: Partial<BucketShareSetting>, names: readonly string[] = ["a", "b"]): Promise<Opened> {
  const cluster = await ValuesCluster.open({
    names,
    diskBytes: 4_096 * KiB,
    buckets: [
      { name: "bucket", ttlSeconds: 0, isPinned: share.isPinned },
      { name: "other", ttlSeconds: 0 },
    ],
    shares: [{ url: "cache://bucket", size: { bytes: SHARE }, isPinned: false, ...share }],
  });
  await cluster.advance(1_000);
  const put = async (key: string, size = SIZE): Promise<string> => {
    try {
      await cluster.values(names[0]!).put(requestOf(key), patterned(size, key.length));
      return "written";
    } catch (error) {
      return (error as CacheError).code;
    }
  };
  const read = async (name: string, key: string): Promise<boolean | string> => {
    try {
      const bytes = await bytesOf(await cluster.values(name).open({ ...requestOf(key), offset: 0 }));
      return bytes.equals(patterned(bytes.length, key.length));
    } catch (error) {
      return (error as CacheError).code;
    }
  };
  return { cluster, put, read };
}

/** Fills the volume of a member with other objects, several times. */
async function crowd(store: BlockStore): Promise<void> {
  const info = testInfo();
  for (let name = 0; name < 200; name++) {
    const id = testId(`s3://bucket/${name}`);
    expect(await keep(store, id, info, testSegments(id, info))).toBe(true);
  }
}

const keysOf = (count: number): string[] => Array.from({ length: count }, (_, i) => `key${i}`);

describe("a bucket of values with a share", () => {
  it("evicts its own values beyond the share at each member, which are missing when no member has them", async () => {
    const { cluster, put, read } = await open({});
    for (const key of keysOf(20)) expect(await put(key)).toBe("written");
    for (const name of ["a", "b"]) {
      const { usedBytes, limitBytes } = cluster.store(name).bucketOf("cache://bucket/key0")!;
      expect(usedBytes).toBeLessThanOrEqual(limitBytes!);
    }
    const found = await Promise.all(keysOf(20).map((key) => read("a", key)));
    expect(found.at(-1)).toBe(true);
    expect(new Set(found)).toEqual(new Set([true, "NOT_FOUND"]));
    await cluster.close();
  });

  it("refuses a value that is larger than the share, and keeps the others", async () => {
    const { cluster, put, read } = await open({});
    expect(await put("small")).toBe("written");
    expect(await put("large", 9 * FILE)).toBe("RESOURCE_EXHAUSTED");
    expect([await read("a", "small"), await read("b", "large")]).toEqual([true, "NOT_FOUND"]);
    await cluster.close();
  });

  it("copies a value that one member has evicted when it is read there, and not before", async () => {
    const { cluster, put, read } = await open({});
    expect(await put("key")).toBe("written");
    await crowd(cluster.store("a"));
    await cluster.advance(5_000);
    expect(cluster.values("a").stats()).toMatchObject({ entries: 0, evictions: 1 });
    const { repaired } = cluster.values("a").stats();
    // The list of members changes: members ask each other for everything that they lack.
    cluster.setMembers(["a", "b", "c"]);
    await cluster.advance(5_000);
    cluster.setMembers(["a", "b"]);
    await cluster.advance(5_000);
    expect([cluster.values("a").stats().entries, cluster.values("a").stats().repaired - repaired]).toEqual([0, 0]);
    expect(await read("a", "key")).toBe(true);
    expect(cluster.values("a").stats().entries).toBe(1);
    await cluster.close();
  });
});

describe("a pinned bucket of values", () => {
  it("keeps its values when other objects fill the volumes", async () => {
    const { cluster, put, read } = await open({ isPinned: true });
    for (const key of keysOf(4)) expect(await put(key)).toBe("written");
    for (const name of ["a", "b"]) await crowd(cluster.store(name));
    await cluster.advance(5_000);
    for (const name of ["a", "b"]) {
      expect(await Promise.all(keysOf(4).map((key) => read(name, key)))).toEqual([true, true, true, true]);
      expect(cluster.values(name).stats()).toMatchObject({ evictions: 0, repaired: 0 });
    }
    await cluster.close();
  });

  it("refuses a value beyond its share at all members, whole, streamed or in ranges, until a value is deleted", async () => {
    const { cluster, put, read } = await open({ isPinned: true });
    const keys = keysOf(8);
    for (const key of keys) expect(await put(key)).toBe("written");
    const { usedBytes } = cluster.store("a").bucketOf("cache://bucket/key0")!;
    expect(await put("next")).toBe("RESOURCE_EXHAUSTED");
    const streamed = (async function* () {
      for (let piece = 0; piece < 4; piece++) yield patterned(SIZE, piece);
    })();
    await expect(cluster.values("b").put(requestOf("streamed"), streamed)).rejects.toMatchObject({
      code: "RESOURCE_EXHAUSTED",
      s3Code: "QuotaExceeded",
      message: expect.stringContaining("delete values, or raise the share"),
    });
    const upload = { ...requestOf("upload"), size: SIZE, exclusive: false };
    await expect(cluster.values("a").begin(upload)).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED" });
    await cluster.advance(2_000);
    for (const name of ["a", "b"]) {
      expect(await Promise.all(keys.map((key) => read(name, key)))).toEqual(keys.map(() => true));
      for (const key of ["next", "streamed", "upload"]) expect(await read(name, key)).toBe("NOT_FOUND");
      expect(cluster.store(name).bucketOf("cache://bucket/key0")!.usedBytes).toBe(usedBytes);
    }
    await cluster.values("b").delete(requestOf("key3"));
    expect(await put("next")).toBe("written");
    await cluster.close();
  });

  it("refuses a value if one of its members has no space, and no member has it", async () => {
    const { cluster, put, read } = await open({ isPinned: true });
    cluster.cut("a", "b");
    for (const key of keysOf(8)) expect(await put(key)).toBe("written");
    expect(await put("more")).toBe("RESOURCE_EXHAUSTED");
    // The other member has the same values soon, and is full, too.
    cluster.heal();
    expect(await cluster.within(() => cluster.values("b").stats().entries === 8)).toBe(true);
    expect(await put("more")).toBe("RESOURCE_EXHAUSTED");
    expect([await read("a", "more"), await read("b", "more")]).toEqual(["NOT_FOUND", "NOT_FOUND"]);
    await cluster.close();
  });

  it("takes new versions of values again and again, because replaced ones give way", async () => {
    const { cluster, put, read } = await open({ isPinned: true });
    for (let round = 0; round < 12; round++) for (const key of keysOf(4)) expect(await put(key)).toBe("written");
    expect(await Promise.all(keysOf(4).map((key) => read("b", key)))).toEqual([true, true, true, true]);
    await cluster.close();
  });

  it("answers from members that have a value if another one cannot copy it, and does not try again all the time", async () => {
    const { cluster, put, read } = await open({ isPinned: true }, ["a", "b", "c"]);
    const keys: string[] = [];
    for (let i = 0; keys.length < 10 && i < 100; i++) if ((await put(`key${i}`)) === "written") keys.push(`key${i}`);
    const fullest = (): number =>
      Math.max(...cluster.names.map((name) => cluster.store(name).bucketOf("cache://bucket/key0")!.usedBytes));
    expect([keys.length, fullest() <= SHARE]).toEqual([10, true]);
    cluster.kill("c");
    // The two others should have ten values each now, and have space for eight.
    await cluster.advance(20_000);
    for (const name of ["a", "b"]) {
      expect(await Promise.all(keys.map((key) => read(name, key)))).toEqual(keys.map(() => true));
      expect(cluster.store(name).bucketOf("cache://bucket/key0")!.usedBytes).toBeLessThanOrEqual(SHARE);
    }
    await cluster.close();
  });
});
