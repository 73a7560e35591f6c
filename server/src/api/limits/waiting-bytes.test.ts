import { describe, expect, it } from "vitest";
import { WaitingBytes } from "./waiting-bytes.js";

describe("bytes that wait for readers", () => {
  it("cost the slowest reader its connection when they are too many, never the one who came last", () => {
    const waiting = new WaitingBytes(100);
    const cut: string[] = [];
    const hold = (name: string, bytes: number) => waiting.hold(bytes, () => cut.push(name));
    const first = hold("first", 40);
    hold("second", 40);
    first();
    hold("third", 40);
    expect([cut, waiting.bytes]).toEqual([[], 80]);
    hold("fourth", 60);
    expect([cut, waiting.bytes]).toEqual([["second"], 100]);
    hold("fifth", 500);
    expect([cut, waiting.bytes]).toEqual([["second", "third", "fourth"], 500]);
  });

  it("are given back once, however often that is said", () => {
    const waiting = new WaitingBytes(100);
    const taken = waiting.hold(10, () => {});
    taken();
    taken();
    expect(waiting.bytes).toBe(0);
  });
});
