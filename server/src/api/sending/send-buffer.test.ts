import { describe, expect, it } from "vitest";
import { SendBuffer } from "./send-buffer.js";

describe("the send buffer", () => {
  it("disconnects the slowest clients when it is exceeded, never the newest one", () => {
    const buffer = new SendBuffer(100);
    const cut: string[] = [];
    const add = (name: string, bytes: number) => buffer.add(bytes, () => cut.push(name));
    const first = add("first", 40);
    add("second", 40);
    first();
    add("third", 40);
    expect([cut, buffer.bytes]).toEqual([[], 80]);
    add("fourth", 60);
    expect([cut, buffer.bytes]).toEqual([["second"], 100]);
    add("fifth", 500);
    expect([cut, buffer.bytes]).toEqual([["second", "third", "fourth"], 500]);
  });

  it("removes bytes once, even if the removal is repeated", () => {
    const buffer = new SendBuffer(100);
    const taken = buffer.add(10, () => {});
    taken();
    taken();
    expect(buffer.bytes).toBe(0);
  });
});
