import { describe, expect, it } from "vitest";
import { freeMemory } from "./free-memory.js";

describe("freeMemory", () => {
  it("frees bytes that have memory of their own, at once", () => {
    const bytes = Buffer.from(new ArrayBuffer(64 << 10));
    freeMemory(bytes);
    expect(bytes.length).toBe(0);
  });

  it("leaves bytes that share their memory with others, and few bytes", () => {
    const shared = Buffer.from(new ArrayBuffer(64 << 10));
    const [part, few] = [shared.subarray(0, 32 << 10), Buffer.from(new ArrayBuffer(1 << 10))];
    freeMemory(part);
    freeMemory(few);
    expect([part.length, few.length, shared.length]).toEqual([32 << 10, 1 << 10, 64 << 10]);
  });
});
