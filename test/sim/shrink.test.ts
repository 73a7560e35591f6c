import { describe, expect, it } from "vitest";
import { shrink } from "./shrink.js";

const items = (count: number) => Array.from({ length: count }, (_, at) => ({ kind: at % 3 === 0 ? "noise" : "step", at }));

describe("shrinking", () => {
  it("leaves of a failing list exactly what it needs to fail", async () => {
    const needed = [17, 40, 41];
    const fails = async (some: readonly { at: number }[]) => needed.every((at) => some.some((item) => item.at === at));
    expect((await shrink(items(200), fails, 1_000)).map(({ at }) => at)).toEqual(needed);
  });

  it("ends after this many tries, with a list that fails", async () => {
    let tries = 0;
    const fails = async (some: readonly { at: number }[]) => {
      tries++;
      return some.some(({ at }) => at === 17) && some.some(({ at }) => at === 130);
    };
    const left = await shrink(items(200), fails, 10);
    expect(tries).toBe(10);
    expect(left.map(({ at }) => at)).toEqual(expect.arrayContaining([17, 130]));
  });
});
