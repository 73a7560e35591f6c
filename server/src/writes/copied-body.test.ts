import { describe, expect, it } from "vitest";
import { rampBytes } from "../testing/origin/ramp.js";
import { CopyMemory } from "./copied-body.js";

const MiB = 1 << 20;

describe("a copy of a body", () => {
  it("has all bytes that were added, in pieces of any size", () => {
    const body = rampBytes(0, 2 * MiB + 17, 3);
    const copy = new CopyMemory(4 * MiB).copy(body.length)!;
    for (let at = 0; at < body.length; at += 77_777) {
      expect(copy.complete).toBe(false);
      copy.add(body.subarray(at, at + 77_777));
    }
    expect(copy.complete).toBe(true);
    for (const [start, end] of [
      [0, body.length],
      [MiB - 1, MiB + 1],
      [2 * MiB, 2 * MiB + 17],
    ] as const) {
      expect(Buffer.concat([...copy.slices(start, end)]).equals(body.subarray(start, end))).toBe(true);
    }
  });

  it("is not made if all copies together have no memory for it, until another one is released by its last user", () => {
    const memory = new CopyMemory(3 * MiB);
    const first = memory.copy(2 * MiB)!;
    expect(memory.copy(2 * MiB)).toBeUndefined();
    expect(memory.copy(MiB)).toBeDefined();
    first.retain();
    first.release();
    expect(memory.copy(2 * MiB)).toBeUndefined();
    first.release();
    expect(memory.copy(2 * MiB)).toBeDefined();
  });
});
