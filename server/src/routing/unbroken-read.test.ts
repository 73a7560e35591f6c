import { CacheError, type ObjectInfo, parseObjectUrl } from "@frontcache/proto";
import { beforeEach, describe, expect, it } from "vitest";
import type { BlockRequest } from "../cache/block-request.js";
import type { ObjectRead } from "../cache/object-read.js";
import { rampBytes } from "../testing/origin/ramp.js";
import { Unreachable } from "./member-link.js";
import { UnbrokenRead } from "./unbroken-read.js";

const info: ObjectInfo = { version: "v1", objectSize: 1_000_000 };
const lost = new Unreachable({ name: "a", grpcAddress: "127.0.0.1:1" }, "gone");
const request: BlockRequest = {
  ref: parseObjectUrl("s3://bucket/key"),
  version: undefined,
  blockOffset: 10_000,
  start: 100,
  end: 2_000,
  openEnded: true,
  cachedOnly: false,
  signal: new AbortController().signal,
};

let open: number;

beforeEach(() => {
  open = 0;
});

/** A read of a block's range that gives slices of 100 bytes, and fails after so many bytes. */
function readOf(
  { start, end }: { start: number; end: number },
  failsAfter = Number.POSITIVE_INFINITY,
  failure: Error = lost,
): ObjectRead {
  let at = start;
  let closed = false;
  open++;
  const next = async () => {
    if (at - start >= failsAfter) throw failure;
    if (at >= end) return undefined;
    const bytes = rampBytes(request.blockOffset + at, Math.min(100, end - at), 0);
    at += bytes.length;
    return { bytes, release: () => {} };
  };
  const close = (): void => {
    if (!closed) open--;
    closed = true;
  };
  return { info, offset: request.blockOffset + start, length: end - start, result: "forwarded", next, close };
}

async function rest(read: ObjectRead): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for (let slice = await read.next(); slice !== undefined; slice = await read.next()) pieces.push(slice.bytes);
  return Buffer.concat(pieces);
}

describe("a read whose member is lost on the way", () => {
  it("goes on from its next byte, with the version that it began with", async () => {
    const asked: BlockRequest[] = [];
    const read = new UnbrokenRead(readOf(request, 300), request, (wanted) => {
      asked.push(wanted);
      return readOf(wanted, asked.length === 1 ? 500 : undefined);
    });
    expect(await rest(read)).toEqual(rampBytes(10_100, 1_900, 0));
    expect(asked.map(({ version, start, end, openEnded }) => ({ version, start, end, openEnded }))).toEqual([
      { version: "v1", start: 400, end: 2_000, openEnded: false },
      { version: "v1", start: 900, end: 2_000, openEnded: false },
    ]);
    read.close();
    expect(open).toBe(0);
  });

  it("does not go on after its last byte", async () => {
    const read = new UnbrokenRead(readOf(request, 1_900), request, () => {
      throw new Error("nothing is left to read");
    });
    expect(await rest(read)).toHaveLength(1_900);
    read.close();
  });

  it("gives up when it is lost again and again", async () => {
    let losses = 0;
    const read = new UnbrokenRead(readOf(request, 0), request, (wanted) => {
      losses++;
      return readOf(wanted, 100);
    });
    await expect(rest(read)).rejects.toBe(lost);
    expect(losses).toBe(3);
    read.close();
    expect(open).toBe(0);
  });

  it("fails with any other error as it is, and with the one that going on ends with", async () => {
    const refused = new CacheError("PERMISSION_DENIED", "no");
    const first = new UnbrokenRead(readOf(request, 300, refused), request, () => readOf(request));
    await expect(rest(first)).rejects.toBe(refused);
    const second = new UnbrokenRead(readOf(request, 300), request, () => Promise.reject(refused));
    await expect(rest(second)).rejects.toBe(refused);
  });

  it("leaves what it was about to go on with when its reader has left meanwhile", async () => {
    let arrive!: (read: ObjectRead) => void;
    const read = new UnbrokenRead(readOf(request, 0), request, () => new Promise((resolve) => (arrive = resolve)));
    const next = read.next();
    await Promise.resolve();
    await new Promise((resolve) => setImmediate(resolve));
    read.close();
    arrive(readOf(request));
    expect(await next).toBeUndefined();
    expect(open).toBe(0);
  });
});
