import { expect, it } from "vitest";
import { TwoSegmentLru } from "./two-segment-lru.js";

it("evicts the entry that has been in the second half longest", () => {
  const lru = new TwoSegmentLru<string>(4);
  expect(["a", "b", "c", "d"].flatMap((entry) => lru.add(entry, 1))).toEqual([]);
  expect(lru.add("e", 1)).toEqual(["a"]);
});

it("keeps a hit of the second half, and moves nothing for one of the first", () => {
  const lru = new TwoSegmentLru<string>(4);
  for (const entry of ["a", "b", "c", "d"]) lru.add(entry, 1);
  lru.hit("a");
  lru.hit("d");
  lru.hit("nobody");
  expect(lru.add("e", 1)).toEqual(["b"]);
  expect(lru.add("f", 1)).toEqual(["c"]);
});

it("counts weights, and evicts an entry that is heavier than everything it may contain", () => {
  const lru = new TwoSegmentLru<string>(10);
  lru.add("a", 3);
  lru.add("b", 8);
  expect([lru.size, lru.weight, lru.has("a"), lru.has("b")]).toEqual([1, 8, false, true]);
  expect(lru.add("c", 11)).toEqual(["b", "c"]);
  lru.add("d", 5);
  lru.remove("d");
  lru.remove("nobody");
  expect([lru.size, lru.weight]).toEqual([0, 0]);
});

it("with room for one entry keeps the newest", () => {
  const lru = new TwoSegmentLru<string>(1);
  expect(lru.add("a", 1)).toEqual([]);
  expect(lru.add("b", 1)).toEqual(["a"]);
});
