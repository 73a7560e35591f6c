import { CacheError, DEFAULT_GEOMETRY, Membership, parseObjectUrl } from "@frontcache/proto";
import { eventually, ManualClock } from "@frontcache/proto/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Origin } from "../origin/origin.js";
import type { Clock } from "../runtime/clock.js";
import { bytesOf } from "../testing/answer-fixture.js";
import { AnsweringMember, type ReadCall, sendError, sendRamp } from "../testing/answering-member.js";
import { MemoryObjects } from "../testing/origin/memory-objects.js";
import { MemoryOrigin } from "../testing/origin/memory-origin.js";
import { rampBytes } from "../testing/origin/ramp.js";
import { rangeOf } from "../testing/origin/requests.js";
import { openOtherMembers } from "../testing/other-members.js";
import { silentRouting } from "../testing/silent-ports.js";
import { MemberView } from "./member-view.js";
import type { OtherMembers } from "./other-members.js";
import { BlockHolders, peerFills } from "./peer-fill.js";

const SIZE = 100_000;
const url = "s3://bucket/key";
const ref = parseObjectUrl(url);
const self = { name: "self", grpcAddress: "127.0.0.1:1" };

let clock: ManualClock;
let members: AnsweringMember[];
let others: OtherMembers;
let real: MemoryOrigin;
let version: string;
let origin: Origin;
let holders: BlockHolders;

beforeEach(async () => {
  clock = new ManualClock();
  holders = new BlockHolders();
  members = await Promise.all(["a", "b"].map((name) => AnsweringMember.start(name)));
  const objects = new MemoryObjects();
  version = objects.putRamp(url, SIZE, 0);
  real = new MemoryOrigin(objects, clock, 10_000);
  for (const member of members) member.onRead = notHeld;
  ({ others, origin } = over(clock));
});

afterEach(async () => {
  await others.close();
  for (const member of members) await member.kill();
  expect(real.open).toBe(0);
  expect(clock.waits).toBe(0);
});

/** An origin before the members, whose ring this member is on, too; it has just come to them, so that two are asked. */
function over(time: Clock): { others: OtherMembers; origin: Origin } {
  const { blockBytes } = DEFAULT_GEOMETRY;
  const view = new MemberView(self.name, time, Membership.of([self], blockBytes));
  view.update(Membership.of([self, ...members.map(({ info }) => info)], blockBytes));
  const opened = openOtherMembers({ self, view, clock: time });
  const wrap = peerFills({ geometry: DEFAULT_GEOMETRY, clock: time, others: opened, events: silentRouting, holders });
  return { others: opened, origin: wrap(real) };
}

function notHeld(call: ReadCall): void {
  sendError(call, new CacheError("NOT_FOUND", "not cached here"));
}

const sendCached = (call: ReadCall): void =>
  sendRamp(call, { size: SIZE, version, contentType: "text/plain", messageBytes: 7_000 });

const range = (options: { version?: string } = { version }) => ({ offset: 1_000, length: 50_000, ...options });

const rightBytes = rampBytes(1_000, 50_000, 0);
const asked = (): string[] => real.calls.map(({ kind, offset, length }) => (kind === "stat" ? kind : `${offset}+${length}`));

describe("a fill of bytes that another member has cached", () => {
  it("takes them from it and asks the origin nothing", async () => {
    members[1]!.onRead = sendCached;
    const answer = await origin.fetch(rangeOf(ref, range()));
    expect(answer).toMatchObject({ info: { version, objectSize: SIZE, contentType: "text/plain" }, length: 50_000 });
    expect(answer.isFromMember).toBe(true);
    expect(await bytesOf(answer)).toEqual(rightBytes);
    expect(asked()).toEqual([]);
    const request = { key: url, offset: 1_000, length: 50_000, version, forwarded: true, cachedOnly: true };
    expect(members.map(({ reads }) => reads)).toEqual([[request], [request]]);
  });

  it("asks the member that is known to have the block, and no other", async () => {
    members[0]!.onRead = sendCached;
    members[1]!.onRead = sendCached;
    const block = { url, version, offset: 0 };
    holders.add(block, members[1]!.info.name);
    expect(await bytesOf(await origin.fetch(rangeOf(ref, range())))).toEqual(rightBytes);
    expect(members.map(({ reads }) => reads.length)).toEqual([0, 1]);
    holders.delete(block);
    expect(holders.of(block)).toBeUndefined();
  });

  it("asks a member that had none of 64 blocks in a row only for one block in 8, until it has one", async () => {
    // One member is asked, since the list has not changed for long.
    clock.advance(60_000);
    const fill = async (blocks: number): Promise<number> => {
      const before = members[0]!.reads.length + members[1]!.reads.length;
      for (let block = 0; block < blocks; block++) await bytesOf(await origin.fetch(rangeOf(ref, range())));
      return members[0]!.reads.length + members[1]!.reads.length - before;
    };
    expect([await fill(64), await fill(16)]).toEqual([64, 2]);
    for (const member of members) member.onRead = sendCached;
    // The eighth block is the sample, and all blocks after it are asked for.
    expect([await fill(8), await fill(8)]).toEqual([1, 8]);
  });

  it("asks a member for all blocks again when the member list changes", async () => {
    for (let block = 0; block < 64 + 7; block++) await bytesOf(await origin.fetch(rangeOf(ref, range())));
    const before = members.map(({ reads }) => reads.length);
    expect(before).toEqual([64, 64]);
    others.update();
    await bytesOf(await origin.fetch(rangeOf(ref, range())));
    expect(members.map(({ reads }) => reads.length)).toEqual([65, 65]);
  });

  it("has the origin say which version is current when none is asked for, and takes no other", async () => {
    members[0]!.onRead = sendCached;
    const answer = await origin.fetch(rangeOf(ref, range({})));
    expect(answer.isFromMember).toBeUndefined();
    expect(await bytesOf(answer)).toEqual(rightBytes);
    expect(asked()).toEqual(["stat"]);
    members[0]!.onRead = (call) => sendRamp(call, { size: SIZE, version: "an older one", onlyBytes: 1_000 });
    expect(await bytesOf(await origin.fetch(rangeOf(ref, range({}))))).toEqual(rightBytes);
    expect(asked()).toEqual(["stat", "stat", "1000+50000"]);
    await eventually(() => expect(members[0]!.left).toBe(1));
  });

  it("takes those that come first and leaves the other member", async () => {
    const waiting: ReadCall[] = [];
    members[0]!.onRead = (call) => waiting.push(call);
    members[1]!.onRead = (call) => waiting.push(call);
    const fetching = origin.fetch(rangeOf(ref, range()));
    await eventually(() => expect(waiting).toHaveLength(2));
    sendCached(waiting[1]!);
    expect(await bytesOf(await fetching)).toEqual(rightBytes);
    await eventually(() => expect(members[0]!.left + members[1]!.left).toBe(1));
    expect(asked()).toEqual([]);
  });

  it.each(["ends early", "stands still for half a second"])("takes the rest from the origin when the member %s", async (how) => {
    members[0]!.onRead = (call) => sendRamp(call, { size: SIZE, version, onlyBytes: 14_000, messageBytes: 7_000 });
    const answer = await origin.fetch(rangeOf(ref, range()));
    let received = 0;
    const bytes = await bytesOf(answer, async (piece) => {
      received += piece.length;
      if (received !== 14_000) return;
      if (how === "ends early") await members[0]!.kill();
      else void eventually(() => expect(clock.waits).toBeGreaterThan(0)).then(() => clock.advance(500));
    });
    expect(bytes).toEqual(rightBytes);
    expect(asked()).toEqual(["15000+36000"]);
  });

  it("ends at once when it is destroyed while it waits for the rest from the origin", async () => {
    members[0]!.onRead = (call) => sendRamp(call, { size: SIZE, version, onlyBytes: 7_000 });
    const hold = real.faults.hold();
    const answer = await origin.fetch(rangeOf(ref, range()));
    const reading = bytesOf(answer, () => members[0]!.kill());
    await hold.reached(1);
    answer.body.destroy();
    await expect(reading).rejects.toMatchObject({ code: "CANCELLED" });
    hold.release();
  });

  it("leaves the member when the fill does", async () => {
    members[0]!.onRead = (call) => sendRamp(call, { size: SIZE, version, onlyBytes: 14_000 });
    const answer = await origin.fetch(rangeOf(ref, range()));
    answer.body.destroy();
    await eventually(() => expect(members[0]!.left).toBe(1));
  });
});

describe("a fill of bytes that no other member has cached", () => {
  it("asks two members at the same time, then the origin", async () => {
    expect(await bytesOf(await origin.fetch(rangeOf(ref, range())))).toEqual(rightBytes);
    expect(members.map(({ reads }) => reads.length)).toEqual([1, 1]);
    expect(asked()).toEqual(["1000+50000"]);
  });

  it("asks the origin at once when nobody listens, and takes those members for unreachable", async () => {
    for (const member of members) await member.kill();
    expect(await bytesOf(await origin.fetch(rangeOf(ref, range())))).toEqual(rightBytes);
    expect(members.map(({ info }) => others.breaker.isOpen(info.grpcAddress))).toEqual([true, true]);
  });

  it("waits 10 ms for members that say nothing, then 20, then 40, then not at all", async () => {
    await bytesOf(await origin.fetch(rangeOf(ref, range())));
    for (const member of members) {
      member.onRead = () => {};
      member.reads.length = 0;
    }
    real.calls.length = 0;
    for (const [round, waitMs] of [10, 20, 40].entries()) {
      const fetching = origin.fetch(rangeOf(ref, range()));
      await eventually(() => expect(members.map(({ reads }) => reads.length)).toEqual([round + 1, round + 1]));
      clock.advance(waitMs - 0.001);
      expect(real.calls).toHaveLength(round);
      clock.advance(0.001);
      await bytesOf(await fetching);
      await eventually(() => expect(members.map(({ left }) => left)).toEqual([round + 1, round + 1]));
    }
    await bytesOf(await origin.fetch(rangeOf(ref, range())));
    expect(members.map(({ reads }) => reads.length)).toEqual([3, 3]);
    expect(real.calls).toHaveLength(4);
    // They are asked again after a second; being slow did not make them count as unreachable.
    clock.advance(1_000);
    expect(members.map(({ info }) => others.breaker.isOpen(info.grpcAddress))).toEqual([false, false]);
    for (const member of members) member.onRead = sendCached;
    await bytesOf(await origin.fetch(rangeOf(ref, range())));
    expect(real.calls).toHaveLength(4);
  });

  it("ends when it is aborted, and leaves the members", async () => {
    for (const member of members) member.onRead = () => {};
    const abort = new AbortController();
    const fetching = origin.fetch(rangeOf(ref, range(), abort.signal));
    await eventually(() => expect(members.map(({ reads }) => reads.length)).toEqual([1, 1]));
    abort.abort(new CacheError("CANCELLED", "the member is closing"));
    await expect(fetching).rejects.toMatchObject({ code: "CANCELLED", message: "the member is closing" });
    await eventually(() => expect(members.map(({ left }) => left)).toEqual([1, 1]));
    expect(asked()).toEqual([]);
  });
});
