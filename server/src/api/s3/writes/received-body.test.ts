import type { IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import { describe, expect, it } from "vitest";
import { systemClock } from "../../../runtime/clock.js";
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
