import type { IncomingMessage } from "node:http";
import { PassThrough, Readable } from "node:stream";
import { ManualClock } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import { type Clock, systemClock } from "../../../runtime/clock.js";
import { receivedBytes } from "./received-body.js";

/** A piece of a body with memory of its own. */
const pieceOf = (fill: number): Buffer => Buffer.from(new ArrayBuffer(64 << 10)).fill(fill);

describe("the memory of a body", () => {
  it("is freed piece by piece when later pieces were taken, and never before", async () => {
    const body = Readable.from([1, 2, 3].map(pieceOf), { objectMode: true }) as IncomingMessage;
    const received = receivedBytes({ body, proceed: undefined, signatures: () => undefined }, { clock: systemClock });
    const pieces: Buffer[] = [];
    for await (const piece of received) pieces.push(piece);
    const lengths = (): number[] => pieces.map(({ length }) => length);
    const [first, second, third] = pieces as [Buffer, Buffer, Buffer];
    received.taken!(first);
    received.taken!(Buffer.from("a head of a chunk"));
    received.taken!(first.subarray(10));
    expect(lengths()).toEqual([64 << 10, 64 << 10, 64 << 10]);
    received.taken!(second.subarray(0, 10));
    expect(lengths()).toEqual([0, 64 << 10, 64 << 10]);
    received.taken!(third);
    expect(lengths()).toEqual([0, 0, 64 << 10]);
  });
});

describe("a body that is received into memory", () => {
  /** A body whose pieces arrive when the test sends them. */
  function openBody() {
    const body = new PassThrough();
    const clock = new ManualClock();
    const upload = { body: body as unknown as IncomingMessage, proceed: undefined, signatures: () => undefined };
    return { body, clock, received: receivedBytes(upload, { clock: clock as unknown as Clock }) };
  }

  it("fills it with as many pieces as fit, keeps the rest for the next call, and returns 0 at its end", async () => {
    const { body, received } = openBody();
    const sent = Buffer.from(Array.from({ length: 100_000 }, (_, at) => at % 251));
    for (let at = 0; at < sent.length; at += 30_000) body.write(sent.subarray(at, at + 30_000));
    body.end();
    const target = Buffer.alloc(70_000);
    expect(await received.receive(target)).toBe(70_000);
    expect(target.equals(sent.subarray(0, 70_000))).toBe(true);
    expect(await received.receive(target)).toBe(30_000);
    expect(target.subarray(0, 30_000).equals(sent.subarray(70_000))).toBe(true);
    expect(await received.receive(target)).toBe(0);
    expect(await received.receive(target)).toBe(0);
  });

  it("returns what has arrived if nothing follows for some milliseconds", async () => {
    const { body, clock, received } = openBody();
    const target = Buffer.alloc(100);
    const first = received.receive(target);
    clock.advance(5);
    body.write(Buffer.from("abc"));
    expect(await first).toBe(3);
    const next = received.receive(target);
    body.write(Buffer.from("de"));
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(5);
    expect(await next).toBe(2);
    expect(target.toString("latin1", 0, 3)).toBe("dec");
  });

  it("rejects with CANCELLED if the client disconnects, after the bytes that have arrived", async () => {
    const { body, received } = openBody();
    const target = Buffer.alloc(100);
    const first = received.receive(target);
    body.write(Buffer.from("abc"));
    await new Promise((resolve) => setImmediate(resolve));
    body.destroy();
    expect(await first).toBe(3);
    await expect(received.receive(target)).rejects.toMatchObject({ code: "CANCELLED" });
  });

  it("rejects with DEADLINE_EXCEEDED if the client sends nothing for 20 s", async () => {
    const { clock, received } = openBody();
    const waiting = received.receive(Buffer.alloc(100));
    const outcome = expect(waiting).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED", s3Code: "RequestTimeout" });
    clock.advance(20_000);
    await outcome;
  });
});
