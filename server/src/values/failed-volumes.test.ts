import { describe, expect, it } from "vitest";
import { systemError } from "../storage/disk/disk.js";
import { testGeometry } from "../testing/store-fixture.js";
import { bytesOf } from "../testing/value-bodies.js";
import { patterned, requestOf } from "../testing/value-samples.js";
import { ValuesCluster } from "../testing/values-cluster.js";

const KEY = "k";
const NAMES = ["a", "b", "c"];

/** A cluster, and its members in the order of the ring at the value. */
async function clusterOf(): Promise<{ readonly cluster: ValuesCluster; readonly ring: readonly [string, string, string] }> {
  const cluster = await ValuesCluster.open({ names: NAMES });
  await cluster.advance(1_000);
  return { cluster, ring: cluster.ring(requestOf(KEY).url) as [string, string, string] };
}

/** No file can be created on a member's disk. The returned function mends it. */
function breakDisk(cluster: ValuesCluster, name: string): () => void {
  const disk = cluster.disk(name);
  disk.before = (operation, path) => {
    if (operation === "create" || path.includes("/journal.")) throw systemError("EIO", path);
    return undefined;
  };
  return () => {
    disk.before = undefined;
  };
}

async function expectEverywhere(cluster: ValuesCluster, bytes: Buffer): Promise<void> {
  for (const name of NAMES) {
    const found = await bytesOf(await cluster.values(name).open({ ...requestOf(KEY), offset: 0 }));
    expect({ name, isSame: found.equals(bytes) }).toEqual({ name, isSame: true });
    expect(await cluster.values(name).head(requestOf(KEY))).toMatchObject({ size: bytes.length });
  }
}

describe("a value that one of its holders cannot store, because its volume fails", () => {
  it.each([0, 1, 2])(
    "is found through all members as soon as member %i of the ring has finalized its upload",
    async (through) => {
      const { cluster, ring } = await clusterOf();
      const bytes = patterned(70_001);
      const values = cluster.values(ring[through]!);
      const mend = breakDisk(cluster, ring[0]);
      await values.begin({ ...requestOf(KEY), size: bytes.length, exclusive: false });
      await values.writeRange(requestOf(KEY), 0, bytes);
      await values.finalize(requestOf(KEY));
      await expectEverywhere(cluster, bytes);
      // The member that failed has nothing left of the upload: the key is free.
      for (const name of NAMES) expect(cluster.values(name).stats().writers).toBe(0);
      mend();
      await cluster.advance(1_000);
      await values.begin({ ...requestOf(KEY), size: 5, exclusive: false });
      await values.abort(requestOf(KEY));
      await cluster.close();
    },
  );

  it.each([0, 1, 2])("is found through all members as soon as member %i of the ring has overwritten it", async (through) => {
    const { cluster, ring } = await clusterOf();
    await cluster.values("a").put(requestOf(KEY), patterned(10_000, 1));
    const mend = breakDisk(cluster, ring[0]);
    const bytes = patterned(70_001, 2);
    await cluster.values(ring[through]!).put(requestOf(KEY), bytes);
    await expectEverywhere(cluster, bytes);
    for (const name of NAMES) expect(cluster.values(name).stats().writers).toBe(0);
    mend();
    const copies = (): number => NAMES.reduce((sum, name) => sum + cluster.values(name).stats().entries, 0);
    expect(await cluster.within(() => copies() === 2)).toBe(true);
    await expectEverywhere(cluster, bytes);
    await cluster.close();
  });

  it("is not given up by the member that lacks it, while that one cannot reach the member that has it", async () => {
    const { cluster, ring } = await clusterOf();
    const [one, two, three] = ring;
    const mend = breakDisk(cluster, one);
    const bytes = patterned(20_000);
    await cluster.values(three).put(requestOf(KEY), bytes);
    mend();
    cluster.cut(one, two);
    const read = async (): Promise<Buffer> => bytesOf(await cluster.values(one).open({ ...requestOf(KEY), offset: 0 }));
    // A third member can.
    expect((await read()).equals(bytes)).toBe(true);
    cluster.heal();
    await expectEverywhere(cluster, bytes);
    expect(await cluster.within(() => cluster.values(one).stats().entries === 1)).toBe(true);
    await cluster.close();
  });
});

describe("an upload whose stored bytes a volume has lost", () => {
  it("is incomplete, says what is missing, and becomes the value when that is written again", async () => {
    const cluster = await ValuesCluster.open({ names: ["a"] });
    const [values, store] = [cluster.values("a"), cluster.store("a")];
    const { blockBytes } = testGeometry;
    const bytes = patterned(2 * blockBytes);
    await values.begin({ ...requestOf(KEY), size: bytes.length, exclusive: false });
    await values.writeRange(requestOf(KEY), 0, bytes);
    const [lost] = [...store.ids("cache://")].sort((x, y) => (x.version < y.version ? -1 : 1));
    await Promise.race([store.evict({ url: lost!.url, version: lost!.version }), cluster.settle()]);
    const missing = [{ start: 0, end: blockBytes }];
    await expect(values.finalize(requestOf(KEY))).rejects.toMatchObject({ reason: "incomplete", completion: { missing } });
    await values.writeRange(requestOf(KEY), 0, bytes.subarray(0, blockBytes));
    await values.finalize(requestOf(KEY));
    const found = await bytesOf(await values.open({ ...requestOf(KEY), offset: 0 }));
    expect(found.equals(bytes)).toBe(true);
    await cluster.close();
  });
});

describe("a value that was written by a member that cannot reach its first holder", () => {
  it("is found at once by a member that asks for it with certainty", async () => {
    const { cluster, ring } = await clusterOf();
    const [one, two, three] = ring;
    cluster.cut(one, three);
    const bytes = patterned(20_000);
    const { version } = await cluster.values(three).put(requestOf(KEY), bytes);
    for (const name of [two, one]) {
      expect(await cluster.values(name).head({ ...requestOf(KEY), isCertain: true })).toMatchObject({ version });
      const read = await cluster.values(name).open({ ...requestOf(KEY), offset: 0, version });
      expect((await bytesOf(read)).equals(bytes)).toBe(true);
    }
    expect(await cluster.values(two).head({ ...requestOf("missing"), isCertain: true })).toBeUndefined();
    await cluster.close();
  });
});
