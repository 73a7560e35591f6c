import { CacheError } from "@frontcache/proto";
import { untilAborted } from "@frontcache/proto/runtime";
import { beforeEach, describe, expect, it } from "vitest";
import type { ObjectRead } from "../cache/object-read.js";
import { rampBytes } from "../testing/origin/ramp.js";
import { MultiBlockRead } from "./multi-block-read.js";

const BLOCK = 1_000;

let open: Set<number>;
let asked: number[];

beforeEach(() => {
  open = new Set();
  asked = [];
});

/** The read of one block in slices of 300 bytes. */
function blockRead(index: number, version = "v1", async = false, result: ObjectRead["result"] = "hit"): ObjectRead {
  let at = index * BLOCK;
  open.add(index);
  const take = () => {
    if (at >= (index + 1) * BLOCK) return undefined;
    const bytes = rampBytes(at, Math.min(300, (index + 1) * BLOCK - at), 0);
    at += bytes.length;
    return { bytes, release: () => {} };
  };
  return {
    info: { version, objectSize: 5 * BLOCK },
    offset: index * BLOCK,
    length: BLOCK,
    result,
    next: () => (async ? Promise.resolve().then(take) : take()),
    close: () => void open.delete(index),
  };
}

function readOf(
  blocks: number,
  openNext: (index: number, signal: AbortSignal) => ObjectRead | Promise<ObjectRead>,
  first = blockRead(0),
): MultiBlockRead {
  return new MultiBlockRead({
    first,
    length: blocks * BLOCK,
    blocks,
    signal: new AbortController().signal,
    open(index, version, signal) {
      expect(version).toBe("v1");
      asked.push(index);
      return openNext(index, signal);
    },
  });
}

async function take(read: ObjectRead, most = Number.POSITIVE_INFINITY): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  while (bytes < most) {
    const slice = await read.next();
    if (slice === undefined) break;
    pieces.push(slice.bytes);
    bytes += slice.bytes.length;
  }
  return Buffer.concat(pieces);
}

describe("a read across blocks", () => {
  it("begins one block ahead of cached blocks, and up to three ahead of blocks that are fetched", async () => {
    const cached = readOf(8, (index) => blockRead(index));
    await take(cached, 2 * BLOCK + 1);
    expect(asked).toEqual([1, 2, 3]);
    cached.close();
    asked = [];
    const fetched = (index: number): ObjectRead => blockRead(index, "v1", false, "filled");
    const read = readOf(8, fetched, fetched(0));
    expect(asked).toEqual([1]);
    await take(read, BLOCK + 1);
    expect(asked).toEqual([1, 2, 3]);
    await take(read, BLOCK);
    expect(asked).toEqual([1, 2, 3, 4, 5]);
    await take(read, BLOCK);
    expect(asked).toEqual([1, 2, 3, 4, 5, 6]);
    read.close();
    await Promise.resolve();
    await Promise.resolve();
    expect(open.size).toBe(0);
  });

  it.each([
    ["at once", (index: number) => blockRead(index)],
    ["later", async (index: number) => blockRead(index, "v1", true)],
  ])("gives all of them in order, when the next ones are opened %s", async (_, openNext) => {
    const read = readOf(5, openNext);
    expect(await take(read)).toEqual(rampBytes(0, 5 * BLOCK, 0));
    expect(await read.next()).toBeUndefined();
    read.close();
    expect([asked, open.size]).toEqual([[1, 2, 3, 4], 0]);
  });

  it("has the next block on its way while it gives one, and no more than that", async () => {
    const read = readOf(5, (index) => blockRead(index));
    expect(asked).toEqual([1]);
    await take(read, BLOCK);
    expect(asked).toEqual([1]);
    await take(read, 1);
    expect(asked).toEqual([1, 2]);
    read.close();
    await new Promise((resolve) => setImmediate(resolve));
    expect(open.size).toBe(0);
  });

  it.each([
    [
      "is thrown",
      () => {
        throw new CacheError("UNAVAILABLE", "the origin is down");
      },
    ],
    ["comes later", () => Promise.reject(new CacheError("UNAVAILABLE", "the origin is down"))],
  ])("gives the blocks before the one that fails, when its error %s", async (_, fail) => {
    const read = readOf(3, (index) => (index === 2 ? fail() : blockRead(index)));
    expect(await take(read, 2 * BLOCK)).toEqual(rampBytes(0, 2 * BLOCK, 0));
    await expect(read.next()).rejects.toThrow("the origin is down");
    read.close();
    expect(open.size).toBe(0);
  });

  it("never mixes versions", async () => {
    const read = readOf(3, (index) => blockRead(index, index === 1 ? "v1" : "v2"));
    expect(await take(read, 2 * BLOCK)).toHaveLength(2 * BLOCK);
    await expect(read.next()).rejects.toMatchObject({ code: "INTERNAL" });
    read.close();
    await new Promise((resolve) => setImmediate(resolve));
    expect(open.size).toBe(0);
  });

  it("aborts a block that is not opened yet when it is closed", async () => {
    const aborted: unknown[] = [];
    const read = readOf(3, (index, signal) => {
      signal.addEventListener("abort", () => aborted.push([index, signal.reason.code]));
      return index === 1 ? blockRead(index) : untilAborted(new Promise<never>(() => {}), signal);
    });
    await take(read, 2 * BLOCK);
    const next = read.next();
    read.close();
    expect(await next).toBeUndefined();
    expect([aborted, open.size]).toEqual([[[2, "CANCELLED"]], 0]);
  });

  it("leaves a block that is opened after its reader has left", async () => {
    let arrive!: (read: ObjectRead) => void;
    const read = readOf(2, () => new Promise((resolve) => (arrive = resolve)));
    await take(read, BLOCK);
    const next = read.next();
    read.close();
    arrive(blockRead(1));
    expect(await next).toBeUndefined();
    await new Promise((resolve) => setImmediate(resolve));
    expect(open.size).toBe(0);
  });
});
