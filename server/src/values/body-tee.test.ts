import { CacheError } from "@frontcache/proto";
import { ManualClock } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import { BodyTee, watched } from "./body-tee.js";

const PIECE_BYTES = 1 << 20;

/** A body whose pieces are numbered, and which counts those that were read. */
function bodyOf(pieces: number): AsyncIterable<Uint8Array> & { readCount: number } {
  const body = {
    readCount: 0,
    async *[Symbol.asyncIterator]() {
      for (let i = 0; i < pieces; i++) {
        body.readCount++;
        yield Buffer.alloc(PIECE_BYTES, i);
      }
    },
  };
  return body;
}

async function firstBytes(branch: AsyncIterable<Uint8Array>): Promise<number[]> {
  const bytes: number[] = [];
  for await (const piece of branch) bytes.push(piece[0]!);
  return bytes;
}

async function turns(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
}

describe("one body for several takers", () => {
  it("gives each of them all pieces in order", async () => {
    const tee = new BodyTee(new ManualClock());
    const takers = [firstBytes(tee.branch()), firstBytes(tee.branch())];
    await tee.run(bodyOf(5));
    for (const taker of takers) expect(await taker).toEqual([0, 1, 2, 3, 4]);
  });

  it("waits for the slowest taker, and fails one that takes nothing for 10 s", async () => {
    const clock = new ManualClock();
    const tee = new BodyTee(clock);
    const fast = firstBytes(tee.branch());
    const slow = tee.branch();
    const body = bodyOf(10);
    const running = tee.run(body);
    await turns();
    expect(body.readCount).toBe(3);
    await slow.next();
    await turns();
    expect(body.readCount).toBe(4);
    clock.advance(10_000);
    await running;
    expect(await fast).toHaveLength(10);
    await expect(slow.next()).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    expect(clock.waits).toBe(0);
  });

  it("says of each piece when no taker uses it any more, unless one has ended before", async () => {
    const freed: number[] = [];
    const body = { ...bodyOf(8), taken: (piece: Uint8Array) => void freed.push(piece[0]!) };
    const tee = new BodyTee(new ManualClock());
    const [one, other] = [tee.branch(), tee.branch()];
    const running = tee.run(body);
    const take = async (branch: typeof one): Promise<void> => branch.taken!((await branch.next()).value);
    for (let piece = 0; piece < 2; piece++) await take(one);
    expect(freed).toEqual([]);
    await take(other);
    expect(freed).toEqual([0]);
    await other.return!();
    for (let piece = 2; piece < 8; piece++) await take(one);
    await running;
    expect(freed).toEqual([0]);
  });

  it("stops reading the body when nobody takes it any more", async () => {
    const tee = new BodyTee(new ManualClock());
    const branch = tee.branch();
    const body = bodyOf(10);
    const running = tee.run(body);
    await branch.next();
    await branch.return!();
    await running;
    expect(body.readCount).toBeLessThan(10);
  });

  it("ends all takers with the error of the body", async () => {
    const tee = new BodyTee(new ManualClock());
    const taker = firstBytes(tee.branch());
    taker.catch(() => {});
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield Buffer.alloc(1);
      throw new CacheError("CANCELLED", "the client has gone");
    }
    await expect(tee.run(broken())).rejects.toThrow("the client has gone");
    await expect(taker).rejects.toThrow("the client has gone");
  });
});

describe("a watched body", () => {
  const bytes = Buffer.from("abcdef");

  /** A body that can be received into memory, and says whether it was ended. */
  function receivable() {
    let at = 0;
    const body = {
      isEnded: false,
      async *[Symbol.asyncIterator]() {
        try {
          yield bytes;
        } finally {
          body.isEnded = true;
        }
      },
      receive: async (target: Uint8Array) => {
        const copied = bytes.copy(target, 0, at);
        at += copied;
        return copied;
      },
    };
    return body;
  }

  it("is received into memory as the body itself is, and shows all bytes and the end", async () => {
    const seen: string[] = [];
    const body = watched(
      receivable(),
      (piece) => seen.push(Buffer.from(piece).toString()),
      () => seen.push("end"),
    );
    const target = Buffer.alloc(4);
    for (const expected of [4, 2, 0]) expect(await body.receive!(target)).toBe(expected);
    expect(seen).toEqual(["abcd", "ef", "end"]);
  });

  it("ends the body if what watches it throws", async () => {
    const body = receivable();
    const failing = watched(body, () => {
      throw new Error("too long");
    });
    await expect(firstBytes(failing)).rejects.toThrow("too long");
    expect(body.isEnded).toBe(true);
  });
});
