import { Readable } from "node:stream";
import { CacheError } from "@frontcache/proto";
import { describe, expect, it } from "vitest";
import { SocketBody } from "./socket-body.js";

const KiB = 1 << 10;
const errors = {
  broken: (received: number) => new CacheError("UNAVAILABLE", `broken at ${received}`),
  surplus: () => new CacheError("UNAVAILABLE", "surplus"),
};

/** A stream that is fed by hand, as a socket feeds a response; reads go into the beginning of `memory`. */
function setup(length: number, memory = Buffer.alloc(64 * KiB)) {
  const abort = new AbortController();
  const stream = new Readable({ read() {} });
  const body = new SocketBody(stream, length, errors, abort.signal);
  return { abort, stream, body, memory, read: () => body.read(memory) };
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("a socket's body", () => {
  it("lands in its reader's memory, in as many reads as that has room for", async () => {
    const { stream, body } = setup(600);
    const memory = Buffer.alloc(600, "-");
    const first = body.read(memory.subarray(0, 250));
    for (const text of ["a", "b", "c", "d"]) stream.push(Buffer.alloc(150, text));
    stream.push(null);
    expect(await first).toBe(150);
    expect(memory[150]).toBe("-".charCodeAt(0));
    expect(await body.read(memory.subarray(150, 250))).toBe(100);
    await settle();
    expect(await body.read(memory.subarray(250))).toBe(350);
    expect(memory.toString()).toBe("a".repeat(150) + "b".repeat(150) + "c".repeat(150) + "d".repeat(150));
    expect(await body.read(memory)).toBe(0);
    expect(await body.read(memory)).toBe(0);
  });

  it("stops the socket while its reader is behind, and lets it go on", async () => {
    const { stream, body, read } = setup(1024 * KiB);
    stream.push(Buffer.alloc(64 * KiB));
    await read();
    for (let pushed = 0; pushed < 8; pushed++) {
      stream.push(Buffer.alloc(64 * KiB));
      await settle();
    }
    expect(stream.isPaused()).toBe(true);
    expect(stream.readableLength).toBeGreaterThan(0);
    for (let taken = 0; taken < 8; taken++) await read();
    expect(stream.isPaused()).toBe(false);
    body.destroy();
  });

  it("frees the socket at once when it is destroyed unread or half read, and ends the read that waits", async () => {
    const unread = setup(100);
    unread.body.destroy();
    expect(unread.stream.destroyed).toBe(true);
    const half = setup(100);
    half.stream.push(Buffer.alloc(50));
    await half.read();
    const waiting = expect(half.read()).rejects.toMatchObject({ code: "CANCELLED" });
    half.body.destroy();
    await waiting;
    expect(half.stream.destroyed).toBe(true);
  });

  it.each(["destroyed", "aborted"])("leaves its reader's memory alone once it is %s", async (how) => {
    const { abort, stream, body, memory, read } = setup(200);
    const waiting = expect(read()).rejects.toMatchObject({ code: "CANCELLED" });
    stream.push(Buffer.alloc(100, "late"));
    if (how === "destroyed") body.destroy();
    else abort.abort();
    await waiting;
    await settle();
    expect(memory.every((byte) => byte === 0)).toBe(true);
  });

  it("keeps a socket whose bytes have all come, though nobody asked for its end", async () => {
    const { stream, body, read } = setup(100);
    stream.push(Buffer.alloc(100));
    await read();
    body.destroy();
    expect(stream.destroyed).toBe(false);
    stream.push(null);
    await settle();
    expect(stream.readableEnded).toBe(true);
  });

  it("gives nothing more out once it is aborted, and frees the socket", async () => {
    const { abort, stream, read } = setup(300);
    stream.push(Buffer.alloc(100));
    await read();
    stream.push(Buffer.alloc(100));
    await settle();
    abort.abort();
    expect(stream.destroyed).toBe(true);
    await expect(read()).rejects.toMatchObject({ code: "CANCELLED" });
  });

  it("gives out what came before it broke, then the error, every time it is asked", async () => {
    const { stream, read } = setup(300);
    stream.push(Buffer.alloc(100));
    await read();
    stream.push(Buffer.alloc(100));
    await settle();
    stream.destroy(new Error("ECONNRESET"));
    await settle();
    expect(await read()).toBe(100);
    for (let asked = 0; asked < 2; asked++) await expect(read()).rejects.toThrow("broken at 200");
  });
});
