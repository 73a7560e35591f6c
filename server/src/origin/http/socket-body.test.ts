import { Readable } from "node:stream";
import { CacheError } from "@frontcache/proto";
import { describe, expect, it } from "vitest";
import { SocketBody } from "./socket-body.js";

const KiB = 1 << 10;
const errors = {
  broken: (received: number) => new CacheError("UNAVAILABLE", `broken at ${received}`),
  surplus: () => new CacheError("UNAVAILABLE", "surplus"),
};

/** A stream that is fed by hand, as a socket feeds a response; what it brings goes to `memory`, so much at a time. */
function setup(length: number, roomBytes = length) {
  const abort = new AbortController();
  const stream = new Readable({ read() {} });
  const body = new SocketBody(stream, length, errors, abort.signal);
  const memory = Buffer.alloc(length);
  const landed: number[] = [];
  const landing = {
    received: 0,
    room: () => memory.subarray(landing.received, landing.received + roomBytes),
    landed(bytes: number) {
      landing.received += bytes;
      landed.push(bytes);
    },
  };
  return { abort, stream, body, memory, landed, landing, land: () => body.land(landing) };
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("a socket's body", () => {
  it("lands in the given room, in any pieces", async () => {
    const { stream, memory, landed, land } = setup(600, 250);
    for (const text of ["a", "b", "c", "d"]) stream.push(Buffer.alloc(150, text));
    stream.push(null);
    await land();
    expect(memory.toString()).toBe("a".repeat(150) + "b".repeat(150) + "c".repeat(150) + "d".repeat(150));
    expect(landed).toEqual([150, 150, 150, 150]);
    const large = setup(600, 250);
    large.stream.push(Buffer.alloc(600, "e"));
    large.stream.push(null);
    await large.land();
    expect([large.memory.toString(), large.landed]).toEqual(["e".repeat(600), [250, 250, 100]]);
  });

  it("reads nothing from the socket before it is landed", async () => {
    const { stream, body } = setup(1024 * KiB);
    stream.push(Buffer.alloc(64 * KiB));
    await settle();
    expect([stream.readableFlowing, stream.readableLength]).toEqual([null, 64 * KiB]);
    body.destroy();
  });

  it("frees the socket at once if it is destroyed unread or half read, and ends the landing", async () => {
    const unread = setup(100);
    unread.body.destroy();
    expect(unread.stream.destroyed).toBe(true);
    await expect(unread.land()).rejects.toMatchObject({ code: "CANCELLED" });
    const half = setup(100);
    const landing = expect(half.land()).rejects.toMatchObject({ code: "CANCELLED" });
    half.stream.push(Buffer.alloc(50));
    await settle();
    half.body.destroy();
    await landing;
    expect([half.stream.destroyed, half.landed]).toEqual([true, [50]]);
  });

  it.each(["destroyed", "aborted"])("writes nothing more once it is %s", async (how) => {
    const { abort, stream, body, memory, landing } = setup(200, 50);
    const landed = (bytes: number): void => {
      landing.landed(bytes);
      if (how === "destroyed") body.destroy();
      else abort.abort();
    };
    const outcome = expect(body.land({ ...landing, room: landing.room, landed })).rejects.toMatchObject({ code: "CANCELLED" });
    stream.push(Buffer.alloc(100, "late"));
    stream.push(Buffer.alloc(100, "late"));
    await outcome;
    await settle();
    expect(stream.destroyed).toBe(true);
    expect(memory.subarray(50).every((byte) => byte === 0)).toBe(true);
  });

  it("keeps a socket whose bytes have all arrived, even before its end", async () => {
    const { stream, body, land } = setup(100);
    const landing = land();
    stream.push(Buffer.alloc(100));
    await settle();
    body.destroy();
    expect(stream.destroyed).toBe(false);
    stream.push(null);
    await landing;
    expect(stream.readableEnded).toBe(true);
  });

  it("fails with the error of its landing", async () => {
    const { stream, body, landing } = setup(100);
    const landed = (): void => {
      throw new CacheError("INTERNAL", "no more room");
    };
    stream.push(Buffer.alloc(10));
    await expect(body.land({ room: landing.room, landed })).rejects.toThrow("no more room");
    expect(stream.destroyed).toBe(true);
  });

  it("gives the bytes received before an error, then the error, each time", async () => {
    const { stream, landed, land } = setup(300);
    const landing = expect(land()).rejects.toThrow("broken at 100");
    stream.push(Buffer.alloc(100));
    await settle();
    stream.destroy(new Error("ECONNRESET"));
    await landing;
    expect(landed).toEqual([100]);
    await expect(land()).rejects.toThrow("broken at 100");
  });

  it("gives no byte too many if it is longer than its head says", async () => {
    const { stream, landed, land } = setup(100);
    stream.push(Buffer.alloc(60));
    stream.push(Buffer.alloc(60));
    await expect(land()).rejects.toThrow("surplus");
    expect(landed).toEqual([60]);
  });
});
