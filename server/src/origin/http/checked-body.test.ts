import { CacheError } from "@frontcache/proto";
import { describe, expect, it } from "vitest";
import { MemoryHttpBody } from "../../testing/memory-http-body.js";
import { CheckedBody } from "./checked-body.js";

const errors = {
  broken: (received: number, cause?: unknown) => new CacheError("UNAVAILABLE", `broken at ${received}`, { cause }),
  surplus: () => new CacheError("UNAVAILABLE", "surplus"),
};

/** A body of `length` bytes that is received in pieces; what it brings goes to `memory`, at most `roomBytes` at a time. */
function setUp(length: number, pieces: readonly number[], error?: Error, roomBytes = length) {
  const received = new MemoryHttpBody(
    pieces.map((bytes, at) => Buffer.alloc(bytes, at + 1)),
    error,
  );
  const body = new CheckedBody(received, length, errors);
  const memory = Buffer.alloc(length);
  const landed: number[] = [];
  let bytes = 0;
  const landing = {
    room: () => memory.subarray(bytes, bytes + roomBytes),
    landed(count: number) {
      bytes += count;
      landed.push(count);
    },
  };
  return { received, body, memory, landed, landing };
}

describe("a checked body", () => {
  it("lands in the given room, in any pieces", async () => {
    const { body, memory, landed, landing } = setUp(600, [150, 450], undefined, 250);
    await body.land(landing);
    expect(memory.equals(Buffer.concat([Buffer.alloc(150, 1), Buffer.alloc(450, 2)]))).toBe(true);
    expect(landed).toEqual([150, 250, 200]);
  });

  it("has no room behind its last byte, whatever arrives: then it is an error", async () => {
    const { body, landed, landing } = setUp(100, [60, 60]);
    await expect(body.land(landing)).rejects.toThrow("surplus");
    expect(landed).toEqual([60, 40]);
  });

  it("is broken if it ends early, or its connection fails, with the cause", async () => {
    const short = setUp(100, [60]);
    await expect(short.body.land(short.landing)).rejects.toThrow("broken at 60");
    const cause = new Error("ECONNRESET");
    const reset = setUp(100, [30], cause);
    await expect(reset.body.land(reset.landing)).rejects.toMatchObject({ message: "broken at 30", cause });
  });

  it.each(["room", "landed"] as const)("fails with the error of its landing (%s)", async (where) => {
    const full = new CacheError("INTERNAL", "no more room");
    const { body, landing } = setUp(100, [10]);
    const failing = {
      ...landing,
      [where]: () => {
        throw full;
      },
    };
    await expect(body.land(failing)).rejects.toBe(full);
  });

  it("is CANCELLED when it is destroyed, and not destroyed when it is complete", async () => {
    const { received, body, landing } = setUp(100, [100]);
    body.destroy();
    expect(received.destroyed).toMatchObject({ code: "CANCELLED" });
    await expect(body.land(landing)).rejects.toMatchObject({ code: "CANCELLED" });
    const whole = setUp(100, [100]);
    await whole.body.land(whole.landing);
    whole.body.destroy();
    expect(whole.received.destroyed).toBeUndefined();
  });
});
