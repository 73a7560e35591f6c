import { describe, expect, it } from "vitest";
import { ParserBypass } from "./parser-bypass.js";

/** A bypass of 10 bytes into memory with room for 4 at a time. */
function setup() {
  const told: string[] = [];
  const bypass = new ParserBypass(10, { readOn: () => told.push("read on"), onComplete: () => told.push("complete") });
  const memory = Buffer.alloc(10, "-");
  let landedBytes = 0;
  const landing = {
    room: () => memory.subarray(landedBytes, landedBytes + 4),
    landed: (bytes: number) => {
      landedBytes += bytes;
    },
  };
  return { bypass, memory, landing, told };
}

describe("a body on its way past the parser", () => {
  it("lands with what came before it was known where it belongs, in order, up to its last byte", () => {
    const { bypass, memory, landing, told } = setup();
    expect(bypass.take(Buffer.from("abc"))).toBe(3);
    expect(bypass.room()).toBeUndefined();
    bypass.land(landing);
    expect([memory.toString(), told]).toEqual(["abc-------", ["read on"]]);
    bypass.room()!.write("defg");
    bypass.landed(4);
    expect(bypass.take(Buffer.from("hi"))).toBe(2);
    expect(bypass.room()).toHaveLength(1);
    expect(bypass.take(Buffer.from("jk"))).toBe(1);
    expect([memory.toString(), told]).toEqual(["abcdefghij", ["read on", "complete"]]);
    expect(bypass.room()).toBeUndefined();
    expect(bypass.take(Buffer.from("k"))).toBe(0);
  });

  it("is complete where all of it came before, and takes nothing that came behind it", () => {
    const { bypass, memory, landing, told } = setup();
    expect(bypass.take(Buffer.from("abcdefg"))).toBe(7);
    expect(bypass.take(Buffer.from("hijkl"))).toBe(3);
    bypass.land(landing);
    expect([memory.toString(), told]).toEqual(["abcdefghij", ["complete", "read on"]]);
  });

  it("leaves the memory alone from its cut on, though that was while it landed", () => {
    const { bypass, memory, landing, told } = setup();
    bypass.take(Buffer.from("abcdefg"));
    bypass.land({ room: landing.room, landed: () => bypass.cut() });
    expect([memory.toString(), told]).toEqual(["abcd------", ["read on"]]);
    expect(bypass.room()).toBeUndefined();
    bypass.take(Buffer.from("hij"));
    expect(memory.toString()).toBe("abcd------");
  });
});
