import { describe, expect, it } from "vitest";
import { received } from "../testing/received-body.js";
import type { BodyPieces } from "./body-tee.js";
import { ReceivedBodies, WHOLE_BYTES } from "./write-memory.js";

const URL = "cache://bucket/k";

/** A body in pieces of 64 KiB, which says which of them were taken. */
function bodyOf(bytes: Buffer): BodyPieces & { readonly takenBytes: () => number } {
  let taken = 0;
  return {
    async *[Symbol.asyncIterator]() {
      for (let at = 0; at < bytes.length; at += 64 << 10) yield bytes.subarray(at, at + (64 << 10));
    },
    taken: (piece) => {
      taken += piece.length;
    },
    takenBytes: () => taken,
  };
}

describe("a body that is gathered", () => {
  function gather(bodies: ReceivedBodies, bytes: Buffer, size = bytes.length) {
    return bodies.gather(URL, bodyOf(bytes), size);
  }

  it("uses memory again that was released as free, and no other", async () => {
    const bodies = new ReceivedBodies(WHOLE_BYTES);
    const whole = async () => {
      const body = gather(bodies, Buffer.alloc(100_000))!;
      return { ...body, buffer: (await body.bytes.whole()).buffer };
    };
    const [one, other] = [await whole(), await whole()];
    expect(one.buffer).not.toBe(other.buffer);
    one.release(false);
    other.release(true);
    expect((await whole()).buffer).toBe(other.buffer);
    expect((await whole()).buffer).not.toBe(one.buffer);
  });

  it("does not use the memory again of a body that was released before its end", async () => {
    const bodies = new ReceivedBodies(WHOLE_BYTES);
    const early = gather(bodies, Buffer.alloc(100_000, 1))!;
    early.release(true);
    const next = gather(bodies, Buffer.alloc(100_000, 2))!;
    await expect(early.bytes.whole()).rejects.toMatchObject({ code: "CANCELLED" });
    expect((await next.bytes.whole()).every((byte) => byte === 2)).toBe(true);
  });

  it("is refused while 128 MiB of memory are used", () => {
    const bodies = new ReceivedBodies(WHOLE_BYTES);
    const all = Array.from({ length: 128 }, () => gather(bodies, Buffer.alloc(64 << 10)));
    expect(all).not.toContain(undefined);
    expect(gather(bodies, Buffer.alloc(64 << 10))).toBeUndefined();
    all[0]!.release(true);
    expect(gather(bodies, Buffer.alloc(64 << 10))).toBeDefined();
  });

  it.each([-1, 1])(
    "is rejected if it differs by %d bytes from the announced size, and uses no memory then",
    async (difference) => {
      const bodies = new ReceivedBodies(WHOLE_BYTES);
      for (let count = 0; count < 130; count++) {
        const body = gather(bodies, Buffer.alloc(100_000 + difference), 100_000)!;
        await expect(body.bytes.whole()).rejects.toMatchObject({ code: "INVALID_ARGUMENT", s3Code: "IncompleteBody" });
        body.release(false);
      }
    },
  );
});

describe("a body that is received in segments", () => {
  const bytes = Buffer.from(Array.from({ length: 10_000 }, (_, at) => at % 251));

  async function piecesOf(body: BodyPieces): Promise<Uint8Array[]> {
    const pieces: Uint8Array[] = [];
    for await (const piece of body) pieces.push(piece);
    return pieces;
  }

  it.each([
    [0, 100_000, [4_000, 4_000, 2_000]],
    [5_000, 100_000, [3_000, 4_000, 3_000]],
    [0, 3_000, [3_000, 1_000, 3_000, 1_000, 2_000]],
  ])("has pieces that end where segments do: at offset %d, %d bytes at a time", async (offset, atMost, lengths) => {
    const pieces = await piecesOf(new ReceivedBodies(4_000).inSegments(received(bytes, atMost), offset).bytes);
    expect(pieces.map(({ length }) => length)).toEqual(lengths);
    expect(Buffer.concat(pieces).equals(bytes)).toBe(true);
  });

  it("uses the memory of a piece again when it was taken, and that of all others when it is released as free", async () => {
    const bodies = new ReceivedBodies(4_000);
    const body = bodies.inSegments(received(bytes, 100_000), 0);
    const first: ArrayBufferLike[] = [];
    for await (const piece of body.bytes) {
      first.push(piece.buffer);
      body.bytes.taken!(piece);
    }
    expect(new Set(first).size).toBe(1);
    const kept = bodies.inSegments(received(bytes, 100_000), 0);
    const pieces = await piecesOf(kept.bytes);
    expect(new Set(pieces.map(({ buffer }) => buffer)).size).toBe(3);
    kept.release(false);
    const next = bodies.inSegments(received(bytes, 100_000), 0);
    for (const { buffer } of await piecesOf(next.bytes)) expect(pieces.map((piece) => piece.buffer)).not.toContain(buffer);
    next.release(true);
  });

  it("keeps its pieces if it cannot be received into memory", async () => {
    const body = bodyOf(Buffer.alloc(100_000));
    const { bytes: pieces } = new ReceivedBodies(4_000).inSegments(body, 0);
    for await (const piece of pieces) pieces.taken!(piece);
    expect(body.takenBytes()).toBe(100_000);
  });
});
