import { describe, expect, it } from "vitest";
import { RAMP_PERIOD, rampByte, rampBytes, rampChunks } from "./ramp.js";

describe("a ramp", () => {
  it.each([
    [0, 1000, 0],
    [250, 2, 0],
    [1, 3_000_000, 7],
    [2 ** 40 + 3, 1000, 250],
    [5, 0, 1],
  ])("from %i of %i bytes with seed %i has the byte (i + seed) %% 251 everywhere", (offset, length, seed) => {
    const bytes = rampBytes(offset, length, seed);
    expect(bytes.length).toBe(length);
    let wrong = 0;
    for (let at = 0; at < length; at++) if (bytes[at] !== (offset + at + seed) % RAMP_PERIOD) wrong++;
    expect(wrong).toBe(0);
    if (length > 0) expect(rampByte(offset, seed)).toBe(bytes[0]);
  });

  it("is produced in chunks of at most the requested size", () => {
    const chunks = [...rampChunks(100, 1_000_001, 4, 65_536)];
    expect(Math.max(...chunks.map((chunk) => chunk.length))).toBe(65_536);
    expect(Buffer.concat(chunks).equals(rampBytes(100, 1_000_001, 4))).toBe(true);
  });
});
