import { describe, expect, it } from "vitest";
import type { Evictable } from "./eviction-policy.js";
import { type Eviction, evictionPolicy } from "./policies.js";

interface Block extends Evictable {
  readonly name: string;
  lastUsedMs: number;
}

const SECOND = 1_000;

function block(name: string, firstUsedMs = 0, lastUsedMs = firstUsedMs): Block {
  return { name, firstUsedMs, lastUsedMs, fingerprint: Number(name) };
}

/** A policy with blocks, by names; times in seconds. */
function order(eviction: Eviction) {
  const policy = evictionPolicy<Block>(eviction);
  const blocks = new Map<string, Block>();
  return {
    policy,
    add(name: number, atSeconds = 0): void {
      blocks.set(`${name}`, block(`${name}`, atSeconds * SECOND));
      policy.add(blocks.get(`${name}`)!);
    },
    touch(name: number, atSeconds: number): void {
      const touched = blocks.get(`${name}`)!;
      touched.lastUsedMs = atSeconds * SECOND;
      policy.recordUse(touched);
    },
    remove: (name: number) => policy.remove(blocks.get(`${name}`)!),
    victims: () => [...policy.victims()].map(({ name }) => Number(name)),
  };
}

function from(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => first + i);
}

describe.each(["lru", "slru"] as const)("%s", (eviction) => {
  it("evicts the least recently used of new blocks first", () => {
    const { policy, add, touch, victims } = order(eviction);
    for (const name of [1, 2, 3]) add(name);
    touch(1, 1);
    expect(victims()).toEqual([2, 3, 1]);
    expect(policy.size).toBe(3);
  });

  it("forgets removed blocks", () => {
    const { policy, add, touch, remove, victims } = order(eviction);
    for (const name of [1, 2]) add(name);
    remove(1);
    remove(1);
    touch(1, 60);
    expect([victims(), policy.size]).toEqual([[2], 1]);
  });

  it("allows removals during the iteration", () => {
    const { policy, add, remove } = order(eviction);
    for (const name of from(1, 6)) add(name);
    const seen: number[] = [];
    for (const { name } of policy.victims()) {
      seen.push(Number(name));
      if (name === "2") remove(2);
      if (name === "3") remove(4);
    }
    expect(seen).toEqual([1, 2, 3, 5, 6]);
  });
});

describe("lru", () => {
  it("has the order of the last uses after any additions, removals and repeated uses", () => {
    const { add, touch, remove, victims } = order("lru");
    let random = 11;
    const next = (below: number): number => {
      random = (random * 48_271) % 2_147_483_647;
      return random % below;
    };
    let expected: number[] = [];
    for (let step = 0; step < 2_000; step++) {
      const name = next(6);
      const isKnown = expected.includes(name);
      if (!isKnown) add(name, step);
      else if (next(8) === 0) remove(name);
      else touch(name, step);
      const isRemoved = isKnown && !victims().includes(name);
      expected = [...expected.filter((other) => other !== name), ...(isRemoved ? [] : [name])];
      expect(victims()).toEqual(expected);
    }
  });
});

describe("slru", () => {
  it("protects a block that is used again and again, also if no other block is used between", () => {
    const { add, touch, victims } = order("slru");
    for (const name of from(0, 10)) add(name);
    for (const second of from(1, 60)) touch(0, second);
    for (const name of from(1, 9)) touch(name, 20);
    expect(victims()).toEqual([...from(1, 9), 0]);
  });

  it("keeps blocks that were used again during a scan of any length", () => {
    const { add, touch, remove, victims } = order("slru");
    for (const name of from(0, 10)) add(name);
    for (const name of from(0, 8)) touch(name, 31);
    for (const name of from(100, 1_000)) {
      add(name, 40);
      remove(victims()[0]!);
    }
    expect(victims().slice(-8)).toEqual(from(0, 8));
  });

  it("does not count many uses by one read as a second use", () => {
    const { add, touch, victims } = order("slru");
    for (const name of from(0, 4)) add(name);
    touch(3, 60);
    for (const second of from(0, 29)) touch(0, second);
    expect(victims()).toEqual([1, 2, 0, 3]);
  });

  it("protects at most four fifths, the most recently used ones", () => {
    const { add, touch, victims } = order("slru");
    for (const name of from(0, 10)) add(name);
    for (const name of from(0, 10)) touch(name, 60 + name);
    expect(victims()).toEqual(from(0, 10));
    touch(0, 80);
    add(10, 81);
    expect(victims()).toEqual([1, 10, 2, 3, 4, 5, 6, 7, 8, 9, 0]);
  });

  it("protects a block immediately if it is cached again soon after its eviction", () => {
    const { add, remove, victims } = order("slru");
    for (const name of from(0, 5)) add(name);
    remove(0);
    add(0, 40);
    add(5, 40);
    expect(victims()).toEqual([1, 2, 3, 4, 5, 0]);
  });

  it("remembers at most as many evicted blocks as it has blocks", () => {
    const { add, remove, victims } = order("slru");
    for (const name of from(0, 5)) add(name);
    for (const name of [0, 1, 2]) remove(name);
    // Two are left: so the first that went is forgotten.
    add(0, 40);
    add(1, 40);
    add(5, 40);
    expect(victims()).toEqual([3, 4, 0, 5, 1]);
  });
});
