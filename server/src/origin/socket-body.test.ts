import { Readable } from "node:stream";
import { CacheError } from "@frontcache/proto";
import { describe, expect, it } from "vitest";
import { SocketBody } from "./socket-body.js";

const KiB = 1 << 10;
const errors = {
  broken: (received: number) => new CacheError("UNAVAILABLE", `broken at ${received}`),
  surplus: () => new CacheError("UNAVAILABLE", "surplus"),
};

/** A stream that is fed by hand, as a socket feeds a response. */
function setup(length: number) {
  const abort = new AbortController();
  const stream = new Readable({ read() {} });
  return { abort, stream, body: new SocketBody(stream, length, errors, abort.signal) };
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("a socket's body", () => {
  it("hands out the socket's own chunks, unjoined and uncopied", async () => {
    const { stream, body } = setup(300);
    const chunks = [Buffer.alloc(100, 1), Buffer.alloc(100, 2), Buffer.alloc(100, 3)];
    for (const chunk of chunks) stream.push(chunk);
    stream.push(null);
    for (const chunk of chunks) expect((await body.next()).value).toBe(chunk);
    expect(await body.next()).toEqual({ value: undefined, done: true });
  });

  it("stops the socket while its reader is behind, and lets it go on", async () => {
    const { stream, body } = setup(1024 * KiB);
    stream.push(Buffer.alloc(64 * KiB));
    await body.next();
    for (let pushed = 0; pushed < 8; pushed++) {
      stream.push(Buffer.alloc(64 * KiB));
      await settle();
    }
    expect(stream.isPaused()).toBe(true);
    expect(stream.readableLength).toBeGreaterThan(0);
    for (let taken = 0; taken < 8; taken++) await body.next();
    expect(stream.isPaused()).toBe(false);
    body.destroy();
  });

  it("frees the socket at once when it is destroyed unread or half read, and ends the read that waits", async () => {
    const unread = setup(100);
    unread.body.destroy();
    expect(unread.stream.destroyed).toBe(true);
    const half = setup(100);
    half.stream.push(Buffer.alloc(50));
    await half.body.next();
    const waiting = expect(half.body.next()).rejects.toMatchObject({ code: "CANCELLED" });
    half.body.destroy();
    await waiting;
    expect(half.stream.destroyed).toBe(true);
  });

  it("keeps a socket whose bytes have all come, though nobody asked for its end", async () => {
    const { stream, body } = setup(100);
    stream.push(Buffer.alloc(100));
    await body.next();
    body.destroy();
    expect(stream.destroyed).toBe(false);
    stream.push(null);
    await settle();
    expect(stream.readableEnded).toBe(true);
  });

  it("gives nothing more out once it is aborted, and frees the socket", async () => {
    const { abort, stream, body } = setup(300);
    stream.push(Buffer.alloc(100));
    await body.next();
    stream.push(Buffer.alloc(100));
    await settle();
    abort.abort();
    expect(stream.destroyed).toBe(true);
    await expect(body.next()).rejects.toMatchObject({ code: "CANCELLED" });
  });

  it("gives out what came before it broke, then the error, every time it is asked", async () => {
    const { stream, body } = setup(300);
    stream.push(Buffer.alloc(100));
    await body.next();
    stream.push(Buffer.alloc(100));
    await settle();
    stream.destroy(new Error("ECONNRESET"));
    await settle();
    expect((await body.next()).value).toHaveLength(100);
    for (let asked = 0; asked < 2; asked++) await expect(body.next()).rejects.toThrow("broken at 200");
  });
});
