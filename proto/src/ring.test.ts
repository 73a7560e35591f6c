import HashRing from "hashring";
import { describe, expect, it } from "vitest";
import { MAX_RING_MEMBERS, ownerKey, Ring } from "./ring.js";

const BLOCK = 16 * 1024 * 1024;

const members = (count: number): string[] => Array.from({ length: count }, (_, ordinal) => `frontcache-${ordinal}`);

function ranking(ring: Ring, url: string, blockOffset: number): string[] {
  const names: string[] = [];
  for (let name = ring.nameAt(url, blockOffset, 0); name !== undefined; name = ring.nameAt(url, blockOffset, names.length)) {
    names.push(name);
  }
  return names;
}

/** How many of `count` blocks, spread over objects of 100 blocks, each member owns. */
function shares(ring: Ring, count: number): Map<string, number> {
  const blocks = new Map<string, number>();
  for (let block = 0; block < count; block++) {
    const owner = ring.nameAt(`s3://bucket/object-${Math.floor(block / 100)}`, (block % 100) * BLOCK, 0)!;
    blocks.set(owner, (blocks.get(owner) ?? 0) + 1);
  }
  return blocks;
}

function largestOverMean(ring: Ring, memberCount: number, blocks: number): number {
  return Math.max(...shares(ring, blocks).values()) / (blocks / memberCount);
}

describe("the ring", () => {
  // Made by hashring 3.2.0 with { vnodes: 160 } a member. If one changes, every block of every cluster moves.
  it.each([
    ["s3://bucket/file", 0, "24013"],
    ["s3://bucket/file", BLOCK, "32104"],
    ["s3://bucket/file", 2 * BLOCK, "21304"],
    ["gs://models/llama/weights-00001-of-00030.safetensors", 0, "34021"],
    ["s3://bucket/ключ с пробелом", 1_099_511_627_776, "03241"],
    ["s3://bucket/a:b", 0, "03241"],
    ["s3://b/x", 9_007_199_237_963_776, "21034"],
  ])("ranks %s at %d as in the golden vectors", (url, offset, ordinals) => {
    expect(ranking(new Ring(members(5)), url, offset)).toEqual([...ordinals].map((ordinal) => `frontcache-${ordinal}`));
  });

  it("has the same points as hashring", () => {
    for (const count of [1, 2, 7, 28, 49]) {
      const plain = new HashRing(Object.fromEntries(members(count).map((name) => [name, { vnodes: 160 }])), "md5");
      const ring = new Ring(members(count));
      for (let block = 0; block < 500; block++) {
        expect(ring.nameAt("s3://bucket/file", block * BLOCK, 0)).toBe(plain.get(ownerKey("s3://bucket/file", block * BLOCK)));
      }
      expect(ranking(ring, "s3://bucket/file", BLOCK)).toEqual(plain.range(ownerKey("s3://bucket/file", BLOCK)));
    }
  });

  it("has the same points as hashring for names of every kind", () => {
    const names = ["a", "b-1", "10.0.0.7", "node.example.com", "ключ", "b"];
    const plain = new HashRing(Object.fromEntries(names.map((name) => [name, { vnodes: 160 }])), "md5");
    const ring = new Ring(names);
    for (let block = 0; block < 2_000; block++) {
      const url = `gs://bucket/${block}`;
      expect(ranking(ring, url, 0)).toEqual(plain.range(ownerKey(url, 0)));
    }
  });

  it("returns shares that match the distribution of blocks", () => {
    const ring = new Ring(members(5));
    const computed = ring.shares();
    const blocks = 20_000;
    for (const [name, owned] of shares(ring, blocks)) expect(owned / blocks).toBeCloseTo(computed.get(name)!, 1.8);
    expect([...computed.values()].reduce((sum, share) => sum + share)).toBeCloseTo(1, 12);
    expect(new Ring([]).shares().size).toBe(0);
  });

  it("does not depend on the order of the names", () => {
    const names = ["b", "a", "10", "9", "__proto__"];
    const [one, other] = [new Ring(names), new Ring(names.toReversed())];
    for (let block = 0; block < 200; block++) {
      const ranked = ranking(one, "gs://bucket/key", block * BLOCK);
      expect(ranked.toSorted()).toEqual(names.toSorted());
      expect(ranking(other, "gs://bucket/key", block * BLOCK)).toEqual(ranked);
    }
  });

  it("ranks every member once, independent of the order of the queries", () => {
    const ranked = ranking(new Ring(members(40)), "s3://bucket/file", 0);
    expect(new Set(ranked).size).toBe(40);
    for (const rank of [39, 3, 1, 17, 40]) {
      expect(new Ring(members(40)).nameAt("s3://bucket/file", 0, rank)).toBe(ranked[rank]);
    }
  });

  it("owns nothing without members", () => {
    expect(new Ring([]).nameAt("s3://bucket/file", 0, 0)).toBeUndefined();
  });

  it("distributes blocks evenly: the largest share is at most 1.25 times the mean for 400 blocks, 1.10 for many", () => {
    expect(largestOverMean(new Ring(members(5)), 5, 400)).toBeLessThanOrEqual(1.25);
    expect(largestOverMean(new Ring(members(5)), 5, 20_000)).toBeLessThanOrEqual(1.1);
    expect(largestOverMean(new Ring(members(10)), 10, 40_000)).toBeLessThanOrEqual(1.1);
  });

  // 7, 14, 28 and 49 are the sizes at which hashring's default point count would also move blocks between survivors.
  it.each([1, 5, 6, 7, 13, 14, 27, 48])(
    "moves 1/(n+1) of the blocks, all to the new member, when a member joins %d others",
    (count) => {
      const [before, after] = [new Ring(members(count)), new Ring(members(count + 1))];
      const blocks = 4000;
      let moved = 0;
      for (let block = 0; block < blocks; block++) {
        const owner = after.nameAt("s3://bucket/file", block * BLOCK, 0);
        if (owner === before.nameAt("s3://bucket/file", block * BLOCK, 0)) continue;
        expect(owner).toBe(`frontcache-${count}`);
        moved++;
      }
      expect(Math.abs(moved / blocks - 1 / (count + 1))).toBeLessThan(0.03);
    },
  );

  it("assigns the blocks of a removed member to the next member in their ranking", () => {
    const [before, after] = [new Ring(members(6)), new Ring(members(6).filter((name) => name !== "frontcache-3"))];
    for (let block = 0; block < 1000; block++) {
      const ranked = ranking(before, "s3://bucket/file", block * BLOCK).filter((name) => name !== "frontcache-3");
      expect(after.nameAt("s3://bucket/file", block * BLOCK, 0)).toBe(ranked[0]);
    }
  });

  it("returns the same ranking after it has forgotten it", () => {
    const ring = new Ring(members(3));
    const first = ranking(ring, "s3://bucket/file", 0);
    for (let block = 1; block < 20_000; block++) ring.nameAt("s3://bucket/other", block * BLOCK, 0);
    expect(ranking(ring, "s3://bucket/file", 0)).toEqual(first);
  });

  it("rejects more members than it supports", () => {
    expect(() => new Ring(members(MAX_RING_MEMBERS + 1))).toThrow(`at most ${MAX_RING_MEMBERS} members`);
  });
});
