import { CacheError, Membership, ORIGIN_REQUESTS_HEADER, parseObjectUrl } from "@frontcache/proto";
import { eventually } from "@frontcache/proto/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { LocalCache } from "../cache/local-cache.js";
import type { ObjectRead } from "../cache/object-read.js";
import type { ObjectHomes } from "../objects/object-homes.js";
import { retrying } from "../origin/retrying.js";
import { systemClock } from "../runtime/clock.js";
import { ANONYMOUS } from "../security/principal.js";
import type { EvictSelector } from "../storage/storage-report.js";
import { AnsweringMember, sendError, sendRamp } from "../testing/answering-member.js";
import { openCache, restOf } from "../testing/cache-fixture.js";
import { MemoryObjects } from "../testing/origin/memory-objects.js";
import { MemoryOrigin } from "../testing/origin/memory-origin.js";
import { rampBytes } from "../testing/origin/ramp.js";
import { openObjectHomes, openOtherMembers } from "../testing/other-members.js";
import { silentRouting } from "../testing/silent-ports.js";
import { openStore, type StoreFixture, testGeometry } from "../testing/store-fixture.js";
import type { ReadRequest } from "./cache.js";
import { MemberView } from "./member-view.js";
import type { OtherMembers } from "./other-members.js";
import { BlockHolders } from "./peer-fill.js";
import { Router } from "./router.js";

const { blockBytes: BLOCK, segmentBytes: SEGMENT } = testGeometry;
const BLOCKS = 12;
const SIZE = BLOCKS * BLOCK - 1_000;
const url = "s3://bucket/key";
const holders = new BlockHolders();
const writes = { run: () => Promise.reject(new Error("nothing is written")) };
const self = { name: "self", grpcAddress: "127.0.0.1:1" };

/** As a member repeats requests, but at once. */
const repeated = retrying(
  {
    attempts: 6,
    baseDelayMs: 0,
    maxDelayMs: 0,
    headTimeoutMs: 10_000,
    idleTimeoutMs: 10_000,
    withFallback: { attempts: 2, headTimeoutMs: 3_000 },
    onRetry() {},
  },
  systemClock,
  () => 0,
);

let stored: StoreFixture;
let objects: MemoryObjects;
let origin: MemoryOrigin;
let local: LocalCache;
let other: AnsweringMember;
let others: OtherMembers;
let view: MemberView;
let homes: ObjectHomes;
let router: Router;
/** Blocks that this member owns, and those of the other one. */
let mine: number[];
let theirs: number[];

beforeEach(async () => {
  stored = await openStore();
  const { clock } = stored;
  objects = new MemoryObjects();
  const version = objects.putRamp(url, SIZE, 0);
  origin = new MemoryOrigin(objects, clock, 10_000);
  local = openCache(stored, origin, { fill: "wanted", revalidateAfterMs: 60_000 });
  other = await AnsweringMember.start("other");
  other.onRead = (call) => sendRamp(call, { size: SIZE, version });
  view = new MemberView(self.name, clock, Membership.of([self, other.info], BLOCK));
  others = openOtherMembers({ self, view, clock });
  other.record = { version, objectSize: SIZE };
  homes = openObjectHomes(others, local, clock);
  await homes.tookOver();
  router = new Router({ local, geometry: testGeometry, others, objects: homes, events: silentRouting, writes, holders });
  const blocks = Array.from({ length: BLOCKS }, (_, index) => index * BLOCK);
  mine = blocks.filter((offset) => view.current.owner(url, offset)?.name === "self");
  theirs = blocks.filter((offset) => !mine.includes(offset));
  expect([mine.length > 1, theirs.length > 1]).toEqual([true, true]);
});

afterEach(async () => {
  await homes.close();
  await others.close();
  await other.kill();
  await local.settled();
  expect([origin.open, stored.store.status().references]).toEqual([0, 0]);
  await local.close();
  await stored.store.close();
});

function request(offset: number, length: number, requested: Partial<ReadRequest> = {}): ReadRequest {
  const { signal } = new AbortController();
  return {
    principal: ANONYMOUS,
    ref: parseObjectUrl(url),
    offset,
    length,
    forwarded: false,
    cachedOnly: false,
    signal,
    ...requested,
  };
}

const stat = (version: string) =>
  router.ask({ kind: "stat", ref: parseObjectUrl(url), version, principal: ANONYMOUS, signal: new AbortController().signal });

const bytesOf = async (requested: ReadRequest): Promise<Buffer> => restOf(await router.open(requested));

describe("a read of one block", () => {
  it("is answered here where this member owns it, at once if it is cached", async () => {
    expect(await bytesOf(request(mine[0]! + 5, 100))).toEqual(rampBytes(mine[0]! + 5, 100, 0));
    await local.settled();
    const read = router.open(request(mine[0]! + 5, 100));
    expect(read).not.toBeInstanceOf(Promise);
    await restOf(read as ObjectRead);
    expect(other.reads).toEqual([]);
  });

  it("is answered by its owner otherwise, and nothing is fetched here", async () => {
    const read = await router.open(request(theirs[0]! + 5, 100));
    expect(read.result).toBe("forwarded");
    expect(await restOf(read)).toEqual(rampBytes(theirs[0]! + 5, 100, 0));
    expect(other.reads).toMatchObject([{ key: url, offset: theirs[0]! + 5, length: 100, forwarded: true, cachedOnly: false }]);
    expect(origin.calls).toEqual([]);
  });

  it("is never sent on when a member sent it, or if only cached bytes are requested", async () => {
    expect(await bytesOf(request(theirs[0]!, 100, { forwarded: true }))).toEqual(rampBytes(theirs[0]!, 100, 0));
    await expect(bytesOf(request(theirs[1]!, 100, { cachedOnly: true }))).rejects.toMatchObject({ code: "NOT_FOUND" });
    expect(other.reads).toEqual([]);
  });

  it("that a member sent without the client's end asks the origin for one part before the size is known", async () => {
    const short = parseObjectUrl("s3://bucket/short");
    objects.putRamp(short.url, 128, 0);
    const sent = { ref: short, forwarded: true, openEnded: true };
    expect(await bytesOf(request(0, BLOCK, sent))).toEqual(rampBytes(0, 128, 0));
    expect(origin.calls).toHaveLength(1);
  });

  it("asks nobody for a version that is too long for one, nor repeats it", async () => {
    const version = "v".repeat(1_025);
    const failure = { code: "FAILED_PRECONDITION", message: `${url}: a version is at most 1024 characters long` };
    for (const offset of [mine[0]!, theirs[0]!]) {
      await expect(bytesOf(request(offset, 100, { version }))).rejects.toMatchObject(failure);
    }
    await expect(stat(version)).rejects.toMatchObject(failure);
    expect([origin.calls, other.reads]).toEqual([[], []]);
  });

  it("asks nobody for a weak tag without a name, which would ask for the empty tag", async () => {
    const failure = { code: "FAILED_PRECONDITION", message: `${url}: a weak tag without a name is not a version` };
    await expect(bytesOf(request(mine[0]!, 100, { version: "W/" }))).rejects.toMatchObject(failure);
    await expect(stat("W/")).rejects.toMatchObject(failure);
    expect([origin.calls, other.reads]).toEqual([[], []]);
  });

  it.each(["this member", "another member"])(
    "begins again with the newer version if the home, %s, still names the old one",
    async (home) => {
      const name = home === "this member" ? "self" : "other";
      const keys = Array.from({ length: 20 }, (_, index) => `s3://bucket/key-${index}`);
      const moved = keys.find((key) => view.current.owner(key, 0)?.name === name)!;
      const [first, second] = Array.from({ length: BLOCKS - 1 }, (_, index) => (index + 1) * BLOCK).filter(
        (offset) => view.current.owner(moved, offset)?.name === "self",
      ) as [number, number];
      const ref = parseObjectUrl(moved);
      const old = objects.putRamp(moved, SIZE, 0);
      other.record = { version: old, objectSize: SIZE };
      // This member learns of the old version by fetching one of its blocks, not only by the home's word.
      expect(await bytesOf(request(first, 100, { ref }))).toEqual(rampBytes(first, 100, 0));
      const current = objects.putRamp(moved, SIZE, 7);
      other.onRejected = () => (other.record = { version: current, objectSize: SIZE });
      expect(await bytesOf(request(second, 100, { ref }))).toEqual(rampBytes(second, 100, 7));
    },
  );

  it.each([0, 1, 2, 3])(
    "makes six requests to the origin at most, %d failed ones of the object's home included",
    async (failed) => {
      const cache = openCache(stored, repeated(origin), { fill: "wanted" });
      const ref = parseObjectUrl(
        Array.from({ length: 20 }, (_, index) => `s3://bucket/key-${index}`).find(
          (key) => view.current.owner(key, 0)?.name === "other" && view.current.owner(key, BLOCK)?.name === "self",
        )!,
      );
      other.record = { version: objects.putRamp(ref.url, SIZE, 0), objectSize: SIZE };
      other.failedRequests = failed;
      origin.faults.place({ error: "UNAVAILABLE" });
      const reading = new Router({
        local: cache,
        geometry: testGeometry,
        others,
        objects: homes,
        events: silentRouting,
        writes,
        holders,
      });
      const read = async (): Promise<Buffer> => restOf(await reading.open(request(BLOCK, BLOCK, { ref })));
      await expect(read()).rejects.toMatchObject({ code: "UNAVAILABLE", isOriginTried: true });
      // One request counts for the answer of the home. Two are kept for the member that is asked if this one is lost.
      expect(origin.calls.length).toBe(6 - 2 - 1 - failed);
      await cache.close();
    },
  );

  it.each([
    [0, "3"],
    [2, "1"],
    [3, "0"],
  ])("allows the owner of its block what is left after %d failed requests of the object's home", async (failed, allowed) => {
    const ref = parseObjectUrl(`${url}-of-others`);
    const offset = Array.from({ length: BLOCKS - 1 }, (_, index) => (index + 1) * BLOCK).find(
      (block) => view.current.owner(ref.url, block)?.name === "other",
    )!;
    const home = view.current.owner(ref.url, 0)?.name;
    const version = objects.putRamp(ref.url, SIZE, 0);
    other.record = { version, objectSize: SIZE };
    other.failedRequests = failed;
    let received: unknown = "nothing";
    other.onRead = (call) => {
      [received] = call.metadata.get(ORIGIN_REQUESTS_HEADER);
      sendRamp(call, { size: SIZE, version });
    };
    expect((await bytesOf(request(offset, 100, { ref }))).length).toBe(100);
    expect(received).toBe(home === "other" ? allowed : "3");
  });

  it.each([
    ["one more request to the origin, if it fails, when its owner is lost with it", true, 1],
    ["as many requests as any read when no request reached its owner", false, 4],
  ])("makes %s", async (_, isLost, requests) => {
    const cache = openCache(stored, repeated(origin), { fill: "wanted" });
    const reading = new Router({
      local: cache,
      geometry: testGeometry,
      others,
      objects: homes,
      events: silentRouting,
      writes,
      holders,
    });
    origin.faults.place({ error: "UNAVAILABLE" });
    await bytesOf(request(theirs[0]!, 100));
    other.onRead = () => void other.kill();
    if (!isLost) await other.kill();
    const read = async (): Promise<Buffer> => restOf(await reading.open(request(theirs[1]!, BLOCK, { version: "v1" })));
    await expect(read()).rejects.toMatchObject({ code: "UNAVAILABLE", isOriginTried: true });
    expect(origin.calls.length).toBe(requests);
    await cache.close();
  });

  it("makes six requests to the origin at most if it begins again because this member stood still", async () => {
    const cache = openCache(stored, repeated(origin), { fill: "wanted" });
    const decider = openObjectHomes(others, cache, stored.clock);
    await decider.tookOver();
    const keys = Array.from({ length: 20 }, (_, index) => `s3://bucket/key-${index}`);
    const ref = parseObjectUrl(keys.find((key) => view.current.owner(key, 0)?.name === "self")!);
    other.record = { version: objects.putRamp(ref.url, SIZE, 0), objectSize: SIZE };
    origin.faults.place({ body: { afterBytes: 10, how: "break" } });
    const first = origin.faults.hold();
    const reading = new Router({
      local: cache,
      geometry: testGeometry,
      others,
      objects: decider,
      events: silentRouting,
      writes,
      holders,
    });
    const read = async (): Promise<Buffer> => restOf(await reading.open(request(0, 100, { ref })));
    const failed = expect(read()).rejects.toMatchObject({ code: "UNAVAILABLE", isOriginTried: true });
    await first.reached(1);
    // Other members may have decided meanwhile.
    stored.clock.stall(600);
    first.release();
    await failed;
    expect(origin.calls.at(-1)?.version).toBe(other.record.version);
    expect(origin.calls.length).toBeLessThanOrEqual(6);
    await decider.close();
    await cache.close();
  });

  it("fails with the owner's own error, and asks nobody else", async () => {
    other.onRead = (call) => sendError(call, new CacheError("UNAVAILABLE", "its origin is down"));
    await expect(bytesOf(request(theirs[0]!, 100))).rejects.toThrow("its origin is down");
    expect(origin.calls).toEqual([]);
    expect(others.breaker.isOpen(other.info.grpcAddress)).toBe(false);
  });

  it("is answered here while its owner is unreachable, starting or shutting down, and by the owner again afterwards", async () => {
    await stat("v1");
    const answer = other.onRead;
    other.onRead = (call) => call.emit("error", { code: 14, details: "this member is starting" });
    expect(await bytesOf(request(theirs[0]!, 100))).toEqual(rampBytes(theirs[0]!, 100, 0));
    expect(others.breaker.isOpen(other.info.grpcAddress)).toBe(true);
    other.onRead = answer;
    await eventually(() => {
      stored.clock.advance(250);
      expect(others.breaker.isOpen(other.info.grpcAddress)).toBe(false);
    });
    expect((await router.open(request(theirs[1]!, 100))).result).toBe("forwarded");
  });

  it("goes on here, from its next byte, when its owner is lost in the middle", async () => {
    other.onRead = (call) => sendRamp(call, { size: SIZE, onlyBytes: 3 * SEGMENT, messageBytes: SEGMENT });
    const read = await router.open(request(theirs[0]!, BLOCK));
    const pieces: Buffer[] = [];
    while (Buffer.concat(pieces).length < 3 * SEGMENT) pieces.push((await read.next())!.bytes);
    const going = restOf(read);
    await other.kill();
    expect(Buffer.concat([...pieces, await going]).equals(rampBytes(theirs[0]!, BLOCK, 0))).toBe(true);
    expect(origin.bytesServed).toBe(5 * SEGMENT);
  });
});

describe("a read across blocks and owners", () => {
  it("is put together in order", async () => {
    expect((await bytesOf(request(7, 0))).equals(rampBytes(7, SIZE - 7, 0))).toBe(true);
    expect(other.reads.map(({ offset }) => Math.max(offset, 0) - (offset % BLOCK))).toEqual(theirs);
  });

  it("is pinned to the version of its first block", async () => {
    await bytesOf(request(0, 3 * BLOCK));
    expect(other.reads.length).toBeGreaterThan(0);
    const later = other.reads.filter(({ offset }) => offset > 0);
    expect(later.every(({ version }) => version === "v1")).toBe(true);
  });

  it("ends at the object's end, and is out of range behind it", async () => {
    expect(await bytesOf(request(SIZE - 10, 5 * BLOCK))).toEqual(rampBytes(SIZE - 10, 10, 0));
    expect(() => router.open(request(-1, 1))).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    other.onRead = (call) => sendError(call, new CacheError("OUT_OF_RANGE", "behind the end"));
    await expect(bytesOf(request(SIZE, 1))).rejects.toMatchObject({ code: "OUT_OF_RANGE" });
  });

  it("of an empty object has no bytes, and reports its version", async () => {
    objects.put("s3://bucket/empty", "");
    other.onRead = (call) => sendError(call, new CacheError("OUT_OF_RANGE", "behind the end"));
    const read = await router.open(request(0, 0, { ref: parseObjectUrl("s3://bucket/empty") }));
    expect(read).toMatchObject({ length: 0, info: { version: "v2", objectSize: 0 } });
    expect(await read.next()).toBeUndefined();
    await expect(bytesOf(request(0, 1, { ref: parseObjectUrl("s3://bucket/empty") }))).rejects.toMatchObject({
      code: "OUT_OF_RANGE",
    });
  });
});

describe("the members as the router knows them", () => {
  it("are reported now and after each change", () => {
    const reported: string[][] = [];
    const end = router.watchMembers(({ name, members }) => reported.push([name, ...members.map((member) => member.name)]));
    view.update(Membership.of([self], BLOCK));
    end();
    view.update(Membership.of([self, other.info], BLOCK));
    expect(reported).toEqual([
      ["self", "other", "self"],
      ["self", "self"],
    ]);
  });

  it("say who owns the block of any byte", () => {
    expect(router.ownersOf(parseObjectUrl(url), theirs[0]! + BLOCK - 1)).toEqual([other.info.grpcAddress, self.grpcAddress]);
    expect(router.ownersOf(parseObjectUrl(url), mine[0]! + BLOCK - 1)).toEqual([self.grpcAddress, other.info.grpcAddress]);
    view.update(Membership.of([], BLOCK));
    expect(router.ownersOf(parseObjectUrl(url), 0)).toEqual([self.grpcAddress]);
  });

  it("all evict, unless one of them asked for it", async () => {
    await bytesOf(request(mine[0]!, 100));
    await local.settled();
    const { signal } = new AbortController();
    const evict = (selector: EvictSelector, forwarded: boolean) =>
      router.ask({ kind: "evict", selector, forwarded, principal: ANONYMOUS, signal });
    expect(await evict({ url }, false)).toMatchObject({ blocks: 2 });
    expect(other.evictions).toEqual([{ key: url, version: "", prefix: false, forwarded: true }]);
    expect(await evict({ prefix: "s3://" }, true)).toEqual({ blocks: 0, bytes: 0 });
    expect(other.evictions).toHaveLength(1);
    await other.kill();
    await expect(evict({ url }, false)).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });
});
