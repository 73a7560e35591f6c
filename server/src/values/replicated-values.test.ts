import type { CacheError } from "@frontcache/proto";
import { describe, expect, it } from "vitest";
import { bytesOf } from "../testing/value-bodies.js";
import { patterned, requestOf } from "../testing/value-samples.js";
import { ValuesCluster } from "../testing/values-cluster.js";
import { describeValues } from "../testing/values-contract.js";

describeValues("one member", async () => {
  const cluster = await ValuesCluster.open({ names: ["a"] });
  return {
    values: cluster.values("a"),
    advance: async (byMs) => {
      cluster.clock.advance(byMs);
      await cluster.settle();
    },
    close: () => cluster.close(),
  };
});

describeValues("three members, asked in turn", async () => {
  const cluster = await ValuesCluster.open({ names: ["a", "b", "c"] });
  await cluster.advance(1_000);
  return {
    values: cluster.values("b"),
    advance: async (byMs) => {
      cluster.clock.advance(byMs);
      await cluster.settle();
    },
    close: () => cluster.close(),
  };
});

async function read(cluster: ValuesCluster, name: string, key: string): Promise<Buffer | string> {
  try {
    return await bytesOf(await cluster.values(name).open({ ...requestOf(key), offset: 0 }));
  } catch (error) {
    return (error as CacheError).code;
  }
}

/** How many members have the bytes of a value. */
function copies(cluster: ValuesCluster): number {
  return cluster.names.reduce((sum, name) => sum + cluster.values(name).stats().entries, 0);
}

describe("values of a cluster", () => {
  it("can be read through any member, with the same bytes, and are kept by two", async () => {
    const cluster = await ValuesCluster.open({ names: ["a", "b", "c", "d"] });
    await cluster.advance(1_000);
    const bytes = patterned(150_000);
    await cluster.values("a").put(requestOf("k"), bytes);
    for (const name of cluster.names) expect(((await read(cluster, name, "k")) as Buffer).equals(bytes)).toBe(true);
    expect(copies(cluster)).toBe(2);
    await cluster.close();
  });

  it("survive the death of any one member, and are copied to a third", async () => {
    const cluster = await ValuesCluster.open({ names: ["a", "b", "c"] });
    await cluster.advance(1_000);
    const keys = Array.from({ length: 60 }, (_, i) => `k${i}`);
    for (const [i, key] of keys.entries()) {
      await cluster.values(["a", "b", "c"][i % 3]!).put(requestOf(key), patterned(1_000 + i, i));
    }
    expect(copies(cluster)).toBe(120);
    cluster.destroy("b");
    for (const [i, key] of keys.entries()) {
      expect(((await read(cluster, i % 2 === 0 ? "a" : "c", key)) as Buffer).equals(patterned(1_000 + i, i))).toBe(true);
    }
    expect(await cluster.within(() => copies(cluster) === 120)).toBe(true);
    await cluster.start("b");
    expect(await cluster.within(() => cluster.values("b").stats().entries > 0 && copies(cluster) === 120)).toBe(true);
    for (const [i, key] of keys.entries()) {
      expect(((await read(cluster, "b", key)) as Buffer).equals(patterned(1_000 + i, i))).toBe(true);
    }
    await cluster.close();
  });

  it("are missing when both members that kept them have lost their disks", async () => {
    const cluster = await ValuesCluster.open({ names: ["a", "b", "c"] });
    await cluster.advance(1_000);
    await cluster.values("a").put(requestOf("k"), patterned(1_000));
    const [one, two] = cluster.ring("cache://bucket/k");
    cluster.destroy(one!);
    cluster.destroy(two!);
    await cluster.start(one!);
    await cluster.start(two!);
    for (const name of cluster.names) expect(await read(cluster, name, "k")).toBe("NOT_FOUND");
    await cluster.close();
  });

  it("are found at a member that counts as unreachable because it was busy, while the other one that kept them is dead", async () => {
    const cluster = await ValuesCluster.open({ names: ["a", "b", "c"] });
    await cluster.advance(1_000);
    await cluster.values("a").put(requestOf("k"), patterned(1_000));
    const [one, two, three] = cluster.ring("cache://bucket/k") as [string, string, string];
    cluster.kill(one);
    cluster.doubt(three, two);
    expect(((await read(cluster, three, "k")) as Buffer).equals(patterned(1_000))).toBe(true);
    await cluster.close();
  });

  it("are unavailable, not missing, where no member that may have them answers", async () => {
    const cluster = await ValuesCluster.open({ names: ["a", "b", "c"] });
    await cluster.advance(1_000);
    await cluster.values("a").put(requestOf("k"), patterned(1_000));
    const [one, two, three] = cluster.ring("cache://bucket/k") as [string, string, string];
    cluster.cut(two, three);
    // Two members kept it if it existed: one of them would be found.
    for (const name of cluster.names) expect(await read(cluster, name, "other")).toBe("NOT_FOUND");
    cluster.kill(one);
    expect(await read(cluster, three, "k")).toBe("UNAVAILABLE");
    await cluster.advance(3_000);
    expect(await read(cluster, three, "k")).toBe("UNAVAILABLE");
    cluster.heal();
    expect(((await read(cluster, three, "k")) as Buffer).equals(patterned(1_000))).toBe(true);
    await cluster.close();
  });

  it("are unavailable, not missing, at members that have lost their disks, while the other one that kept them does not answer", async () => {
    const cluster = await ValuesCluster.open({ names: ["a", "b", "c"] });
    await cluster.advance(1_000);
    await cluster.values("a").put(requestOf("k"), patterned(1_000));
    const [one, two, three] = cluster.ring("cache://bucket/k") as [string, string, string];
    cluster.destroy(one);
    for (const other of [one, three]) cluster.cut(two, other);
    await cluster.start(one);
    for (const name of [one, three]) expect(await read(cluster, name, "k")).toBe("UNAVAILABLE");
    await cluster.advance(3_000);
    for (const name of [one, three]) expect(await read(cluster, name, "k")).toBe("UNAVAILABLE");
    cluster.heal();
    for (const name of [one, three]) expect(((await read(cluster, name, "k")) as Buffer).equals(patterned(1_000))).toBe(true);
    await cluster.close();
  });

  it("are there again after all members have died and started", async () => {
    const cluster = await ValuesCluster.open({ names: ["a", "b"] });
    await cluster.advance(1_000);
    await cluster.values("a").put(requestOf("k"), patterned(100_000));
    await cluster.values("a").put(requestOf("empty"), patterned(0));
    await cluster.values("a").put(requestOf("gone"), patterned(10));
    await cluster.values("b").delete(requestOf("gone"));
    cluster.kill("a");
    cluster.kill("b");
    await cluster.start("a");
    await cluster.start("b");
    for (const name of cluster.names) {
      expect(((await read(cluster, name, "k")) as Buffer).equals(patterned(100_000))).toBe(true);
      expect(await read(cluster, name, "empty")).toEqual(Buffer.alloc(0));
      expect(await read(cluster, name, "gone")).toBe("NOT_FOUND");
    }
    await cluster.close();
  });

  it("that were deleted while a member was away do not come back with it", async () => {
    const cluster = await ValuesCluster.open({ names: ["a", "b", "c"] });
    await cluster.advance(1_000);
    const [one, two, three] = cluster.ring("cache://bucket/k") as [string, string, string];
    await cluster.values(one).put(requestOf("k"), patterned(10, 1));
    cluster.kill(two);
    expect(await cluster.values(three).delete(requestOf("k"))).toBe(true);
    await cluster.start(two);
    for (const name of cluster.names) expect(await read(cluster, name, "k")).toBe("NOT_FOUND");
    await cluster.advance(3_000);
    for (const name of cluster.names) expect(await read(cluster, name, "k")).toBe("NOT_FOUND");
    await cluster.close();
  });

  it("have the larger version everywhere after a partition", async () => {
    const cluster = await ValuesCluster.open({ names: ["a", "b", "c"] });
    await cluster.advance(1_000);
    const [one, two, three] = cluster.ring("cache://bucket/k") as [string, string, string];
    await cluster.values(one).put(requestOf("k"), patterned(10, 1));
    cluster.cut(one, two);
    cluster.cut(one, three);
    await cluster.values(one).put(requestOf("k"), patterned(11, 2));
    cluster.clock.advance(5);
    await cluster.values(two).put(requestOf("k"), patterned(12, 3));
    expect(cluster.values(one).stats().underReplicated).toBe(1);
    cluster.heal();
    for (const name of cluster.names) expect(((await read(cluster, name, "k")) as Buffer).length).toBe(12);
    const isSettled = () => copies(cluster) === 2 && cluster.values(one).stats().entries === 1;
    expect(await cluster.within(isSettled)).toBe(true);
    for (const name of cluster.names) expect(((await read(cluster, name, "k")) as Buffer).length).toBe(12);
    await cluster.close();
  });

  it("move to the members that the ring chooses after one has joined", async () => {
    const cluster = await ValuesCluster.open({ names: ["a", "b", "c"] });
    cluster.setMembers(["a", "b"]);
    await cluster.advance(1_000);
    for (let i = 0; i < 40; i++) await cluster.values("a").put(requestOf(`k${i}`), patterned(500, i));
    cluster.setMembers(["a", "b", "c"]);
    for (let i = 0; i < 40; i++) expect(((await read(cluster, "c", `k${i}`)) as Buffer).equals(patterned(500, i))).toBe(true);
    expect(await cluster.within(() => cluster.values("c").stats().entries > 0 && copies(cluster) === 80)).toBe(true);
    await cluster.close();
  });

  it("written by a newer member list are found at members with an older one, whoever took the write", async () => {
    const cluster = await ValuesCluster.open({ names: ["a", "b", "c"] });
    await cluster.advance(1_000);
    const names = ["a", "b", "c", "d", "e"];
    cluster.setMembers(names, ["b", "d", "e"]);
    for (const name of ["d", "e"]) await cluster.start(name);
    const keys = Array.from({ length: 200 }, (_, i) => `k${i}`);
    const [one, two] = keys.filter((key) => cluster.ring(`cache://bucket/${key}`).slice(0, 2).join() === "d,e");
    await cluster.values("b").put(requestOf(one!), patterned(1_000, 1));
    for (const name of ["a", "c"]) expect(((await read(cluster, name, one!)) as Buffer).equals(patterned(1_000, 1))).toBe(true);
    // Members of the older list are not informed by one that has forgotten it: they find out which lists there are.
    cluster.setMembers(names, ["d"]);
    await cluster.advance(1_000);
    await cluster.values("d").put(requestOf(two!), patterned(1_000, 2));
    for (const name of ["a", "c"]) expect(((await read(cluster, name, two!)) as Buffer).equals(patterned(1_000, 2))).toBe(true);
    expect(await read(cluster, "a", "other")).toBe("NOT_FOUND");
    cluster.setMembers(names);
    await cluster.advance(5_000);
    for (const name of names) expect(((await read(cluster, name, two!)) as Buffer).equals(patterned(1_000, 2))).toBe(true);
    await cluster.close();
  });

  it("are unavailable, not missing, at a member with an older list while the others that keep them do not answer", async () => {
    const cluster = await ValuesCluster.open({ names: ["a", "b", "c"] });
    await cluster.advance(1_000);
    cluster.setMembers(["a", "b", "c", "d", "e"], ["b", "d", "e"]);
    for (const name of ["d", "e"]) await cluster.start(name);
    const keys = Array.from({ length: 200 }, (_, i) => `k${i}`);
    const key = keys.find((each) => cluster.ring(`cache://bucket/${each}`).slice(0, 2).join() === "d,e")!;
    await cluster.values("b").put(requestOf(key), patterned(1_000));
    for (const name of ["a", "c"]) for (const other of ["d", "e"]) cluster.cut(name, other);
    expect(await read(cluster, "a", key)).toBe("UNAVAILABLE");
    await cluster.close();
  });

  it("with a block that is gone are copied again, or missing if no member has them", async () => {
    const cluster = await ValuesCluster.open({ names: ["a", "b"] });
    await cluster.advance(1_000);
    await cluster.values("a").put(requestOf("k"), patterned(200_000));
    const { version } = [...cluster.store("a").ids("cache://")][0]!;
    await cluster.store("a").evict({ url: "cache://bucket/k", version });
    expect(((await read(cluster, "a", "k")) as Buffer).equals(patterned(200_000))).toBe(true);
    for (const name of ["a", "b"]) await cluster.store(name).evict({ url: "cache://bucket/k", version });
    expect(await read(cluster, "a", "k")).toBe("NOT_FOUND");
    await cluster.advance(2_000);
    expect(await read(cluster, "b", "k")).toBe("NOT_FOUND");
    const { lost } = cluster.values("a").stats();
    expect(lost + cluster.values("b").stats().lost).toBeGreaterThan(0);
    await cluster.close();
  });

  it("of a member that was away for more than a day are dropped", async () => {
    const cluster = await ValuesCluster.open({ names: ["a", "b"] });
    await cluster.advance(1_000);
    await cluster.values("a").put(requestOf("k"), patterned(10));
    cluster.kill("a");
    await cluster.values("b").delete(requestOf("k"));
    cluster.kill("b");
    cluster.clock.advance(25 * 3_600_000);
    await cluster.start("a");
    expect(await read(cluster, "a", "k")).toBe("NOT_FOUND");
    await cluster.close();
  });

  it("of an upload may arrive through any member, in any order and twice", async () => {
    const cluster = await ValuesCluster.open({ names: ["a", "b", "c"] });
    await cluster.advance(1_000);
    const bytes = patterned(400_000);
    const ranges = Array.from({ length: 40 }, (_, i) => i * 10_000);
    ranges.sort((x, y) => ((x * 7_919) % 401_000) - ((y * 7_919) % 401_000));
    await cluster.values("a").begin({ ...requestOf("k"), size: bytes.length, exclusive: false });
    await Promise.all(
      ranges.map((start, i) =>
        cluster.values(cluster.names[i % 3]!).writeRange(requestOf("k"), start, bytes.subarray(start, start + 10_500)),
      ),
    );
    await cluster.values("c").finalize(requestOf("k"));
    for (const name of cluster.names) expect(((await read(cluster, name, "k")) as Buffer).equals(bytes)).toBe(true);
    expect(copies(cluster)).toBe(2);
    await cluster.close();
  });
});
