import { describe, expect, it } from "vitest";
import type { BodyPieces } from "./body-tee.js";
import { WHOLE_BYTES, WholeBodies } from "./write-memory.js";

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
      const whole = await new WholeBodies().gather(URL, body, size);
      expect(whole!.bytes.equals(bytes)).toBe(true);
      expect(body.takenBytes()).toBe(size);
    },
  );

  it("use memory again that was released as free, and no other", async () => {
    const bodies = new WholeBodies();
    const gather = async () => (await bodies.gather(URL, bodyOf(Buffer.alloc(100_000)), 100_000))!;
    const [one, other] = [await gather(), await gather()];
    expect(one.bytes.buffer).not.toBe(other.bytes.buffer);
    one.release(false);
    other.release(true);
    const next = await gather();
    expect(next.bytes.buffer).toBe(other.bytes.buffer);
    expect((await gather()).bytes.buffer).not.toBe(one.bytes.buffer);
  });

  it("are not gathered while 128 MiB of memory are used", async () => {
    const bodies = new WholeBodies();
    const size = 64 << 10;
    const gather = () => bodies.gather(URL, bodyOf(Buffer.alloc(size)), size);
    const all = [];
    for (let count = 0; count < 128; count++) all.push(await gather());
    expect(all).not.toContain(undefined);
    expect(await gather()).toBeUndefined();
    all[0]!.release(true);
    expect(await gather()).toBeDefined();
  });

  it.each([-1, 1])("that differ by %d bytes from the announced size are rejected, and use no memory", async (difference) => {
    const bodies = new WholeBodies();
    for (let count = 0; count < 130; count++) {
      const gathered = bodies.gather(URL, bodyOf(Buffer.alloc(100_000 + difference)), 100_000);
      await expect(gathered).rejects.toMatchObject({ code: "INVALID_ARGUMENT", s3Code: "IncompleteBody" });
    }
  });
});
