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

describe("whole bodies", () => {
  it.each([0, 1, 65_535, 65_536, 300_000, WHOLE_BYTES])(
    "of %d bytes are gathered, and their pieces are not used any more",
    async (size) => {
      const bytes = Buffer.alloc(size, 7);
      const body = bodyOf(bytes);
      const whole = await new ReceivedBodies(WHOLE_BYTES).whole(URL, body, size);
      expect(whole!.bytes.equals(bytes)).toBe(true);
      expect(body.takenBytes()).toBe(size);
    },
  );

  it("use memory again that was released as free, and no other", async () => {
    const bodies = new ReceivedBodies(WHOLE_BYTES);
    const gather = async () => (await bodies.whole(URL, bodyOf(Buffer.alloc(100_000)), 100_000))!;
    const [one, other] = [await gather(), await gather()];
    expect(one.bytes.buffer).not.toBe(other.bytes.buffer);
    one.release(false);
    other.release(true);
    const next = await gather();
    expect(next.bytes.buffer).toBe(other.bytes.buffer);
    expect((await gather()).bytes.buffer).not.toBe(one.bytes.buffer);
  });

  it("are not gathered while 128 MiB of memory are used", async () => {
    const bodies = new ReceivedBodies(WHOLE_BYTES);
    const size = 64 << 10;
    const gather = () => bodies.whole(URL, bodyOf(Buffer.alloc(size)), size);
    const all = [];
    for (let count = 0; count < 128; count++) all.push(await gather());
    expect(all).not.toContain(undefined);
    expect(await gather()).toBeUndefined();
    all[0]!.release(true);
    expect(await gather()).toBeDefined();
  });

  it.each([-1, 1])("that differ by %d bytes from the announced size are rejected, and use no memory", async (difference) => {
    const bodies = new ReceivedBodies(WHOLE_BYTES);
    for (let count = 0; count < 130; count++) {
      const gathered = bodies.whole(URL, bodyOf(Buffer.alloc(100_000 + difference)), 100_000);
      await expect(gathered).rejects.toMatchObject({ code: "INVALID_ARGUMENT", s3Code: "IncompleteBody" });
    }
  });
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
