import { CacheError, Membership, parseObjectUrl, parsePrefixUrl, type WarmProgress } from "@frontcache/proto";
import { eventually, ManualClock } from "@frontcache/proto/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { WarmedBlock, WarmRequest } from "../cache/block-warmer.js";
import type { Listing, ListQuestion } from "../origin/origin.js";
import { AnsweringMember, sendError } from "../testing/answering-member.js";
import { openOtherMembers } from "../testing/other-members.js";
import { MemberView } from "./member-view.js";
import type { OtherMembers } from "./other-members.js";
import { type WarmingRequest, warmObjects } from "./warming.js";

const BLOCK = 1_000;
const BLOCKS = 12;
const SIZE = BLOCKS * BLOCK - 1;
const geometry = { blockBytes: BLOCK, segmentBytes: BLOCK };
const self = { name: "self", grpcAddress: "127.0.0.1:1" };
/** Its first block is this member's. */
let url: string;
/** Blocks of it that the other one owns. */
let theirs: number[];
let clock: ManualClock;
let other: AnsweringMember;
let others: OtherMembers;
let view: MemberView;
/** What this member was asked to warm, and how it answers. */
let here: WarmRequest[];
let answer: (request: WarmRequest) => Promise<WarmedBlock>;
let reports: WarmProgress[];
/** What the origin lists. */
let pages: Listing[];

beforeEach(async () => {
  clock = new ManualClock();
  other = await AnsweringMember.start("other");
  view = new MemberView(self.name, clock, Membership.of([self, other.info], BLOCK));
  others = openOtherMembers({ self, view, clock });
  const keys = Array.from({ length: 100 }, (_, at) => `s3://bucket/key-${at}`);
  url = keys.find((key) => view.current.owner(key, 0)?.name === "self")!;
  theirs = Array.from({ length: BLOCKS }, (_, at) => at * BLOCK).filter((at) => view.current.owner(url, at)?.name === "other");
  expect(theirs.length).toBeGreaterThan(0);
  here = [];
  reports = [];
  answer = async ({ blockOffset }) => {
    return { version: "v1", objectSize: SIZE, cachedBytes: 0, fetchedBytes: Math.min(BLOCK, SIZE - blockOffset) };
  };
});

afterEach(async () => {
  await others.close();
  await other.kill();
  expect(clock.waits).toBe(0);
});

async function run(urls: string[], options: Partial<WarmingRequest> = {}): Promise<void> {
  const local = {
    warm(request: WarmRequest) {
      here.push(request);
      return answer(request);
    },
    list: async ({ page: { token } }: ListQuestion) => pages[Number(token ?? 0)]!,
  };
  const objects = urls.map((key) => ({ ref: parseObjectUrl(key) }));
  const request = { objects, prefixes: [], concurrency: 4, dryRun: false, signal: new AbortController().signal, ...options };
  await warmObjects(request, async (progress) => void reports.push(progress), { local, geometry, others });
}

describe("warming objects", () => {
  it("has each block warmed once, by its owner, of the version that the first one reports", async () => {
    await run([url]);
    expect(other.warmings.map(({ block }) => block?.offset).sort((a, b) => a! - b!)).toEqual(theirs);
    expect(other.warmings[0]).toMatchObject({ keys: [url], version: "v1", dryRun: false, block: { objectSize: SIZE } });
    expect(here.length).toBe(BLOCKS - theirs.length);
    expect(here[0]).toMatchObject({ version: undefined, blockOffset: 0 });
    expect(here[1]).toMatchObject({ version: "v1", objectSize: SIZE });
    expect(reports.at(-1)).toMatchObject({
      key: url,
      doneBlocks: BLOCKS,
      totalBlocks: BLOCKS,
      totalBytes: SIZE,
      error: "",
      ended: true,
    });
    expect(reports.filter(({ ended }) => ended).length).toBe(1);
  });

  it("never has more blocks at a time than it may", async () => {
    let [running, most] = [0, 0];
    const inner = answer;
    answer = async (request) => {
      most = Math.max(most, ++running);
      await new Promise((resolve) => setImmediate(resolve));
      running--;
      return inner(request);
    };
    view.update(Membership.of([self], BLOCK));
    await run([url, "s3://bucket/b", "s3://bucket/c", "s3://bucket/d", "s3://bucket/e"], { concurrency: 3 });
    expect([here.length, most]).toEqual([5 * BLOCKS, 3]);
  });

  it("reports an object that fails, and continues with the others", async () => {
    const inner = answer;
    answer = async (request) => {
      if (request.ref.url === url) throw new CacheError("NOT_FOUND", `${url}: no such object`);
      return inner(request);
    };
    view.update(Membership.of([self], BLOCK));
    await run([url, "s3://bucket/b"]);
    const ended = reports.filter((progress) => progress.ended);
    expect(ended).toMatchObject([
      { key: url, error: `${url}: no such object`, errorCode: "NOT_FOUND", doneBlocks: 0 },
      { key: "s3://bucket/b", error: "", doneBlocks: BLOCKS },
    ]);
  });

  it("warms all that is listed under a prefix, page by page, of the listed versions unless they have changed", async () => {
    const listed = (key: string, version = "v1") => ({ key, version, objectSize: SIZE });
    pages = [
      { objects: [listed("a"), listed("b", "old")], prefixes: [], nextToken: "1" },
      { objects: [listed("c"), { ...listed("empty"), objectSize: 0 }], prefixes: [] },
    ];
    const inner = answer;
    answer = async (request) => {
      if (request.version === "old") throw new CacheError("FAILED_PRECONDITION", "overwritten");
      return inner(request);
    };
    view.update(Membership.of([self], BLOCK));
    await run([], { prefixes: [parsePrefixUrl("s3://bucket/")] });
    expect(reports.slice(0, 2)).toMatchObject([
      { key: "s3://bucket/a", totalBytes: SIZE, totalBlocks: BLOCKS, doneBytes: 0 },
      { key: "s3://bucket/b", totalBytes: SIZE, doneBytes: 0 },
    ]);
    const ended = new Map(reports.filter((progress) => progress.ended).map((progress) => [progress.key, progress]));
    for (const key of ["a", "b", "c"]) {
      expect(ended.get(`s3://bucket/${key}`)).toMatchObject({ version: "v1", doneBlocks: BLOCKS, doneBytes: SIZE, error: "" });
    }
    expect(ended.get("s3://bucket/empty")).toMatchObject({ doneBlocks: 0, totalBlocks: 0, error: "" });
    expect(here.filter(({ version }) => version === undefined).map(({ ref }) => ref.key)).toEqual(["b"]);
  });

  it("stops an object at its first failure, with another member's words", async () => {
    other.onWarm = (call) => sendError(call, new CacheError("UNAVAILABLE", "its volume is full"));
    await run([url], { concurrency: 1 });
    expect(other.warmings.length).toBe(1);
    expect(reports.at(-1)).toMatchObject({
      error: `${url}: its volume is full`,
      errorCode: "UNAVAILABLE",
      doneBlocks: theirs[0]! / BLOCK,
    });
  });

  it("continues with the next member on the ring while an owner is unreachable", async () => {
    await other.kill();
    await run([url]);
    expect(here.length).toBe(BLOCKS);
    expect(reports.at(-1)).toMatchObject({ doneBlocks: BLOCKS, error: "" });
    other = await AnsweringMember.start("other");
  });

  it("finds out that a silent member is gone, and cancels what it was asked for when its caller leaves", async () => {
    other.onWarm = () => {};
    const leaving = new AbortController();
    const running = run([url], { concurrency: 1, signal: leaving.signal });
    await eventually(() => expect(other.warmings.length).toBe(1));
    leaving.abort(new CacheError("CANCELLED", "the caller went away"));
    await expect(running).rejects.toMatchObject({ code: "CANCELLED" });
    other.onProbe = "starting";
    const again = run([url], { concurrency: 1 });
    await eventually(() => {
      clock.advance(1_000);
      expect(here.length).toBeGreaterThanOrEqual(BLOCKS);
    });
    await again;
    expect(reports.at(-1)).toMatchObject({ doneBlocks: BLOCKS, error: "" });
  });
});
