import { describe, expect, it } from "vitest";
import { TransientMap } from "./transient-map.js";

describe("a map for entries that come and go", () => {
  it("answers as a Map does, whatever is set and deleted", () => {
    const [map, model] = [new TransientMap<number>(), new Map<string, number>()];
    let state = 7;
    const random = (): number => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return state / 2 ** 32;
    };
    for (let step = 0; step < 5_000; step++) {
      // Keys come and go: most are never set again.
      const key = `s3://bucket/${Math.floor(step / 10 + random() * 40)}`;
      if (random() < 0.5) {
        map.set(key, step);
        model.set(key, step);
      } else expect(map.delete(key)).toBe(model.delete(key));
      expect([map.size, map.has(key), map.get(key)]).toEqual([model.size, model.has(key), model.get(key)]);
    }
    expect(map.values().sort()).toEqual([...model.values()].sort());
  });

  it("takes the names of an object's own properties, and numbers, for keys like any others", () => {
    const map = new TransientMap<number>();
    const keys = ["__proto__", "constructor", "toString", "0", "-1", ""];
    for (const key of keys) expect([map.has(key), map.get(key)]).toEqual([false, undefined]);
    for (const [i, key] of keys.entries()) map.set(key, i);
    expect(keys.map((key) => map.get(key))).toEqual([0, 1, 2, 3, 4, 5]);
    expect([map.size, map.delete("__proto__"), map.has("__proto__"), map.size]).toEqual([6, true, false, 5]);
  });
});
