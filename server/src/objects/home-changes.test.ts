import { Unreachable } from "@frontcache/client/members";
import { type ObjectRef, parseObjectUrl, type RecordAnswer } from "@frontcache/proto";
import { eventually, type ManualClock } from "@frontcache/proto/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { MemoryObjects } from "../testing/origin/memory-objects.js";
import { listOf, objectOf, TestHomes, type TestMember } from "../testing/test-homes.js";
import { LEASE_MS } from "./granted-leases.js";
import { UNDECIDED_WITHIN_MS } from "./record-lookup.js";

let homes: TestHomes;
let clock: ManualClock;
let objects: MemoryObjects;
let gone: Set<string>;

beforeEach(() => {
  homes = new TestHomes();
  ({ clock, objects, gone } = homes);
});

afterEach(() => homes.close());

describe("the next member on the ring", () => {
  it("decides while the home is gone, at once about an unchanged object, and about others when no lease can be left", async () => {
    const [, b, c] = await homes.startAll("a", "b", "c");
    const ref = objectOf(b!.view.current, "a", "b");
    const older = objects.put(ref.url, "one");
    await b!.current(ref);
    await c!.current(ref);
    gone.add("a");
    clock.advance(2 * LEASE_MS);
    expect((await c!.current(ref)).info.version).toBe(older);
    const newer = objects.put(ref.url, "two");
    c!.homes.forget({ url: ref.url });
    expect(await homes.whileTimePasses(c!.current(ref))).toMatchObject({ info: { version: newer } });
    expect((await b!.current(ref)).info.version).toBe(newer);
  });

  it("waits for the home's leases again if the home was there in between, although this member noticed nothing", async () => {
    const [, b, c] = await homes.startAll("a", "b", "c");
    const ref = objectOf(b!.view.current, "a", "b");
    const older = objects.put(ref.url, "one");
    await b!.current(ref);
    gone.add("a");
    clock.advance(2 * LEASE_MS);
    await b!.current(ref);
    clock.advance(2 * LEASE_MS);
    homes.answeredAtMs.set("a", clock.monotonicMs());
    // The home was there for everybody, and granted a lease.
    gone.clear();
    await c!.current(ref);
    gone.add("a");
    const newer = objects.put(ref.url, "two");
    const begunMs = clock.monotonicMs();
    expect((await homes.whileTimePasses(b!.current(ref))).info.version).toBe(newer);
    expect(clock.monotonicMs() - begunMs).toBeGreaterThanOrEqual(LEASE_MS);
    expect(older).not.toBe(newer);
  });

  it("waits for the home's leases again after a standstill, in which the home may have been there", async () => {
    const [, b] = await homes.startAll("a", "b");
    const ref = objectOf(b!.view.current, "a", "b");
    objects.put(ref.url, "one");
    await b!.current(ref);
    gone.add("a");
    clock.advance(2 * LEASE_MS);
    await b!.current(ref);
    clock.stall(2_000);
    const newer = objects.put(ref.url, "two");
    const begunMs = clock.monotonicMs();
    expect((await homes.whileTimePasses(b!.current(ref))).info.version).toBe(newer);
    expect(clock.monotonicMs() - begunMs).toBeGreaterThanOrEqual(LEASE_MS);
  });

  it("hands out nothing of its own when it hears, while it waits, of the member that has decided meanwhile", async () => {
    const [, b, c] = await homes.startAll("a", "b", "c");
    const ref = objectOf(b!.view.current, "a", "b");
    const older = objects.put(ref.url, "one");
    await c!.current(ref);
    c!.homes.forget({ url: ref.url });
    gone.add("a");
    b!.update(listOf("b", "c"));
    await eventually(() => {
      clock.advance(50);
      expect(b!.homes.decides(ref.url)).toBe(true);
    });
    expect((await b!.current(ref)).info.version).toBe(older);
    gone.add("b");
    objects.put(ref.url, "two");
    c!.origin.faults.place({ latencyMs: 1_000 });
    const asked = c!.current(ref);
    await eventually(() => {
      clock.advance(50);
      expect(c!.origin.calls.length).toBe(1);
    });
    gone.delete("b");
    c!.update(listOf("b", "c"));
    expect((await homes.whileTimePasses(asked)).info.version).toBe(older);
  });

  it("asks the origin, while the home is gone, for a version that a client requires and that it does not know", async () => {
    const [, b] = await homes.startAll("a", "b");
    const ref = objectOf(b!.view.current, "a", "b");
    objects.put(ref.url, "one");
    await b!.current(ref);
    b!.homes.forget({ url: ref.url });
    gone.add("a");
    await homes.whileTimePasses(b!.current(ref));
    clock.advance(2 * LEASE_MS);
    await b!.current(ref);
    const newer = objects.put(ref.url, "two");
    await b!.homes.verify(ref, newer, new AbortController().signal);
    expect((await homes.whileTimePasses(b!.current(ref))).info.version).toBe(newer);
  });

  it("asks, after a standstill, the member that may have substituted for it, before it decides in place of the home", async () => {
    const [, b, c] = await homes.startAll("a", "b", "c");
    const ref = objectOf(b!.view.current, "a", "b", "c");
    objects.put(ref.url, "one");
    await b!.current(ref);
    // The home shuts down. Only c hears of it, cannot reach b, which stands still, and decides in its place, then and later.
    gone.add("a");
    gone.add("b");
    c!.update(listOf("b", "c"));
    await homes.whileTimePasses(c!.current(ref));
    const { lookUpRecords } = c!.connections.objects;
    c!.connections.objects.lookUpRecords = async (address, ...call) => {
      if (address.grpcAddress.startsWith("b")) throw new Unreachable("b is unreachable from c");
      return lookUpRecords(address, ...call);
    };
    clock.stall(2_000);
    gone.delete("b");
    const newer = objects.put(ref.url, "two");
    for (const member of [c!, b!]) expect((await homes.whileTimePasses(member.current(ref))).info.version).toBe(newer);
    expect([b!, c!].map((member) => member.origin.calls.length > 0)).toEqual([false, true]);
  });

  it("has a member stop deciding about objects of the home that the home has not taken over, before it decides itself", async () => {
    const wider = listOf("a", "b", "c");
    const ref = objectOf(wider, "c", "b");
    objects.put(ref.url, "one");
    const a = await homes.start("a", listOf("a"));
    await a.current(ref);
    const b = await homes.start("b", wider);
    gone.add("c");
    a.update(wider);
    await homes.whileTimePasses(Promise.all([a, b].map((member) => member.homes.tookOver())));
    await a.current(ref);
    expect(a.homes.decides(ref.url)).toBe(true);
    const newer = objects.put(ref.url, "two");
    expect((await homes.whileTimePasses(b.current(ref))).info.version).toBe(newer);
    expect(a.homes.decides(ref.url)).toBe(false);
    expect((await homes.whileTimePasses(a.current(ref))).info.version).toBe(newer);
  });

  it("asks, while the home is gone, the member that decides by an older list", async () => {
    const wider = listOf("a", "b", "c");
    const ref = objectOf(wider, "c", "b");
    const older = objects.put(ref.url, "one");
    const a = await homes.start("a", listOf("a"));
    await a.current(ref);
    const b = await homes.start("b", listOf("b", "c"));
    await homes.whileTimePasses(b.homes.tookOver());
    gone.add("c");
    b.update(wider);
    objects.put(ref.url, "two");
    expect((await homes.whileTimePasses(b.current(ref))).info.version).toBe(older);
  });

  it("decides itself when a member that might decide too is gone for as long as its leases last", async () => {
    const [, b] = await homes.startAll("a", "b", "c");
    const ref = objectOf(b!.view.current, "a", "b");
    const version = objects.put(ref.url, "one");
    gone.add("a");
    gone.add("c");
    const begunMs = clock.monotonicMs();
    expect((await homes.whileTimePasses(b!.current(ref))).info.version).toBe(version);
    expect(clock.monotonicMs() - begunMs).toBeGreaterThanOrEqual(LEASE_MS);
  });

  it("hands over to the home that is back", async () => {
    const [a, b] = await homes.startAll("a", "b");
    const ref = objectOf(b!.view.current, "a", "b");
    objects.put(ref.url, "one");
    await b!.current(ref);
    gone.add("a");
    clock.advance(2 * LEASE_MS);
    const newer = objects.put(ref.url, "two");
    expect(await homes.whileTimePasses(b!.current(ref))).toMatchObject({ info: { version: newer } });
    await a!.homes.close();
    await a!.local.close();
    gone.clear();
    const back = await homes.start("a", b!.view.current);
    expect(await homes.whileTimePasses(back.current(ref))).toMatchObject({ info: { version: newer } });
    await homes.whileTimePasses(back.homes.tookOver());
    expect(back.local.records.last(ref.url)?.version).toBe(newer);
    expect(back.homes.decides(ref.url)).toBe(true);
  });
});

describe("a member that is alone in its list", () => {
  it("asks the origin again after a standstill: another one may have joined, and decided in its place", async () => {
    const alone = await homes.start("a", listOf("a"));
    const ref = parseObjectUrl("s3://bucket/object");
    objects.put(ref.url, "one");
    await alone.current(ref);
    const newer = objects.put(ref.url, "two");
    clock.stall(2_000);
    expect((await alone.current(ref)).info.version).toBe(newer);
  });
});

describe("a member of whose objects another one becomes the home", () => {
  it("decides until the other one has taken over, unless it stood still: then the other one may have, without asking it", async () => {
    const wider = listOf("a", "b");
    const ref = objectOf(wider, "b");
    objects.put(ref.url, "one");
    const [first, second] = [await homes.start("a", listOf("a")), await homes.start("a", listOf("a"))];
    await Promise.all([first.current(ref), second.current(ref)]);
    first.update(wider);
    expect(first.homes.decides(ref.url)).toBe(true);
    clock.stall(2_000);
    second.update(wider);
    expect(second.homes.decides(ref.url)).toBe(false);
    await first.homes.close();
    await first.local.close();
  });

  it("hands out nothing newer, after that, before the leases of the older version that it granted have ended", async () => {
    const [a, , c] = await homes.startAll("a", "b", "c");
    const wider = listOf("a", "b", "c", "d");
    const ref = objectOf(wider, "d", "a");
    objects.put(ref.url, "one");
    await c!.current(ref);
    a!.update(wider);
    gone.add("c");
    void a!.homes.verify(ref, objects.put(ref.url, "two"), new AbortController().signal);
    await eventually(() => expect(a!.homes.changing(ref.url)).toBeDefined());
    const handedOver = a!.homes.service.handOver({ name: "d", hash: wider.hash, home: "" }, async () => {});
    expect(a!.homes.decides(ref.url)).toBe(false);
    expect(a!.homes.changing(ref.url)).toBeDefined();
    clock.advance(LEASE_MS);
    expect(await handedOver).toBe(true);
    expect(a!.homes.changing(ref.url)).toBeUndefined();
  });
});

describe("a member that joins", () => {
  it("takes over from the home before, which decides until it has confirmed", async () => {
    const [a, b] = await homes.startAll("a", "b");
    const wider = listOf("a", "b", "c");
    const ref = objectOf(wider, "c", "a");
    expect(a!.view.current.owner(ref.url, 0)?.name).toBe("a");
    const version = objects.put(ref.url, "one");
    const c = await homes.start("c", wider);
    // What was observed before a member started counts as expired there. Ages are rounded up by as long as a call takes.
    clock.advance(5_000);
    await b!.current(ref);
    // The home before has the old list: it is asked, and does not confirm.
    expect((await c.current(ref)).info.version).toBe(version);
    expect(c.homes.decides(ref.url)).toBe(false);
    expect(a!.homes.decides(ref.url)).toBe(true);
    a!.update(wider);
    b!.update(wider);
    expect(a!.homes.decides(ref.url)).toBe(true);
    await eventually(() => {
      clock.advance(50);
      expect(c.homes.status().takeOvers).toBe(0);
    });
    expect([a!, c].map(({ homes }) => homes.decides(ref.url))).toEqual([false, true]);
    expect((await a!.current(ref)).info.version).toBe(version);
    // The record was handed over.
    expect(c.origin.calls).toEqual([]);
  });

  it("does not take the home before for gone while that one refuses it, because it has not heard of it", async () => {
    const [a, b] = await homes.startAll("a", "b");
    const wider = listOf("a", "b", "c");
    const ref = objectOf(wider, "c", "a");
    homes.refusing.add("a");
    const c = await homes.start("c", wider);
    b!.update(wider);
    for (let ms = 0; ms < 10 * LEASE_MS; ms += 50) {
      clock.advance(50);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect([a!, c].map(({ homes }) => homes.decides(ref.url))).toEqual([true, false]);
    homes.refusing.clear();
    a!.update(wider);
    await homes.whileTimePasses(c.homes.tookOver());
    expect([a!, c].map(({ homes }) => homes.decides(ref.url))).toEqual([false, true]);
  });
});

describe("a member that is in the list again, or for the first time since it started", () => {
  const [without, wider] = [listOf("a", "b"), listOf("a", "b", "c")];

  /** All hear of the list with `c`. Expects that `c` alone decides in the end about an object whose home it is. */
  async function expectOneDecider(members: readonly TestMember[]): Promise<void> {
    const ref = objectOf(wider, "c", "a");
    for (const member of members) member.update(wider);
    await eventually(() => {
      clock.advance(50);
      expect(members.map(({ homes }) => homes.decides(ref.url))).toEqual([false, false, true]);
    });
  }

  it("takes over, although others confirmed to it, by the list without it, that they decide about none of its objects", async () => {
    const [a, b] = await homes.startAll("a", "b");
    const c = await homes.start("c", without);
    await homes.whileTimePasses(c.homes.tookOver());
    await expectOneDecider([a!, b!, c]);
  });

  it("takes over what others decided about while its pod was not ready", async () => {
    const [a, b, c] = await homes.startAll("a", "b", "c");
    for (const member of [a!, b!, c!]) member.update(without);
    await homes.whileTimePasses(Promise.all([a!, b!].map((member) => member.homes.tookOver())));
    await expectOneDecider([a!, b!, c!]);
  });
});

describe("a member that took over without a confirmation, because it could not reach the member before", () => {
  it("has that member stop deciding as soon as it can reach it", async () => {
    const a = await homes.start("a", listOf("a"));
    const wider = listOf("a", "b");
    const ref = objectOf(wider, "b", "a");
    objects.put(ref.url, "one");
    await a.current(ref);
    a.update(wider);
    gone.add("a");
    const b = await homes.start("b", wider);
    await homes.whileTimePasses(b.homes.tookOver());
    expect([a, b].map(({ homes }) => homes.decides(ref.url))).toEqual([true, true]);
    gone.clear();
    await eventually(() => {
      clock.advance(200);
      expect(a.homes.decides(ref.url)).toBe(false);
    });
    expect(b.homes.decides(ref.url)).toBe(true);
  });
});

describe("a member that others saw leave the list and return, while it noticed nothing", () => {
  it("takes over from them, which decided about its objects without its confirmation", async () => {
    const [a, b, c] = await homes.startAll("a", "b", "c");
    const ref = objectOf(listOf("a", "b", "c"), "a", "b");
    const others = [b!, c!];
    objects.put(ref.url, "one");
    await a!.current(ref);
    for (const member of others) member.update(listOf("b", "c"));
    await eventually(() => {
      clock.advance(1_000);
      expect([a!, b!].map((member) => member.homes.decides(ref.url))).toEqual([true, true]);
    });
    const newer = objects.put(ref.url, "two");
    expect((await homes.whileTimePasses(b!.current(ref))).info.version).toBe(newer);
    for (const member of others) member.update(listOf("a", "b", "c"));
    expect(b!.homes.decides(ref.url)).toBe(true);
    await eventually(() => {
      clock.advance(50);
      expect(b!.homes.decides(ref.url)).toBe(false);
    });
    expect((await homes.whileTimePasses(a!.current(ref))).info.version).toBe(newer);
    expect(a!.homes.decides(ref.url)).toBe(true);
  });
});

describe("a member that starts together with others", () => {
  it("decides about an object when the member has confirmed that was the home of all objects before", async () => {
    const a = await homes.start("a", listOf("a"));
    const wider = listOf("a", "b", "c");
    const ref = objectOf(wider, "b", "c");
    const older = objects.put(ref.url, "one");
    await a.current(ref);
    const c = await homes.start("c", wider);
    const b = await homes.start("b", wider);
    // The next member on the ring has confirmed; the one that decides has the old list.
    await eventually(() => {
      clock.advance(50);
      expect(b.homes.status().takeOvers).toBe(1);
    });
    expect([a, b].map(({ homes }) => homes.decides(ref.url))).toEqual([true, false]);
    objects.put(ref.url, "two");
    expect((await homes.whileTimePasses(b.current(ref))).info.version).toBe(older);
    a.update(wider);
    await eventually(() => {
      clock.advance(50);
      expect([a, b, c].map(({ homes }) => homes.decides(ref.url))).toEqual([false, true, false]);
    });
  });
});

describe("a member that shuts down", () => {
  it("asks the next member on the ring, which substitutes for it, while its last reads run", async () => {
    const [a, b] = await homes.startAll("a", "b");
    const ref = objectOf(a!.view.current, "a", "b");
    objects.put(ref.url, "one");
    await a!.current(ref);
    a!.homes.shutDown();
    homes.members.delete("a");
    expect(a!.homes.decides(ref.url)).toBe(false);
    const newer = objects.put(ref.url, "two");
    expect((await homes.whileTimePasses(a!.current(ref))).info.version).toBe(newer);
    expect(b!.local.records.last(ref.url)?.version).toBe(newer);
    await a!.homes.close();
    await a!.local.close();
  });

  it("fails no question that waits for the origin: the member that asked finds another one that decides", async () => {
    const [a, , c] = await homes.startAll("a", "b", "c");
    const ref = objectOf(a!.view.current, "a", "b");
    const version = objects.put(ref.url, "one");
    a!.origin.faults.place({ latencyMs: 60_000 });
    const asked = c!.current(ref);
    await eventually(() => expect(a!.origin.calls.length).toBe(1));
    gone.add("a");
    homes.members.delete("a");
    await a!.homes.close();
    expect((await homes.whileTimePasses(asked)).info.version).toBe(version);
    await a!.local.close();
  });

  it("decides to the end if it is alone", async () => {
    const alone = await homes.start("a", listOf("a"));
    alone.homes.shutDown();
    expect(alone.homes.decides("s3://bucket/object")).toBe(true);
  });
});

describe("an object about which a member decides by an older list", () => {
  it("is answered by that member, although those that are asked first do not know who decides", async () => {
    const [a, b] = await homes.startAll("a", "b");
    const ref = objectOf(listOf("a", "b", "c", "d"), "a", "b", "c");
    const older = objects.put(ref.url, "one");
    await a!.current(ref);
    const c = await homes.start("c", listOf("b", "c", "d"));
    b!.update(listOf("b", "c"));
    objects.put(ref.url, "two");
    for (const member of [b!, c]) expect((await homes.whileTimePasses(member.current(ref))).info.version).toBe(older);
    expect([a!, b!, c].map((member) => member.homes.decides(ref.url))).toEqual([true, false, false]);
  });
});

describe("an object about which no member decides", () => {
  let home: TestMember;
  let next: TestMember;
  let other: TestMember;
  let ref: ObjectRef;
  let older: string;

  /** The home has restarted, and waits for the next member, which has another list: each of them asks the other one. */
  beforeEach(async () => {
    const list = listOf("a", "b", "c");
    ref = objectOf(listOf("a", "b", "c", "d"), "a", "b");
    older = objects.put(ref.url, "one");
    next = await homes.start("b", listOf("a", "b", "c", "d"));
    home = await homes.start("a", list);
    other = await homes.start("c", list);
    await eventually(() => {
      clock.advance(50);
      const outstanding = [home, next, other].map((member) => member.homes.status().takeOvers);
      expect(outstanding).toEqual([1, 2, 1]);
    });
    expect([home, next].map(({ homes }) => homes.decides(ref.url))).toEqual([false, false]);
  });

  const decidesAgain = async (): Promise<void> => {
    next.update(listOf("a", "b", "c"));
    await eventually(() => {
      clock.advance(50);
      expect(home.homes.status().takeOvers).toBe(0);
    });
  };

  it("is answered from the origin after a while", async () => {
    expect((await homes.whileTimePasses(other.current(ref))).info.version).toBe(older);
  });

  it("is answered by the home that decides meanwhile, although the origin has a newer version", async () => {
    const begunMs = clock.monotonicMs();
    const { lookUpRecords } = other.connections.objects;
    let isLast = false;
    // The home begins to decide just after it has said for the last time that it does not.
    other.connections.objects.lookUpRecords = async (address, request, onAnswer, limits) => {
      const answers: RecordAnswer[] = [];
      await lookUpRecords(address, request, (answer) => answers.push(answer), limits);
      if (!isLast && clock.monotonicMs() - begunMs >= UNDECIDED_WITHIN_MS) {
        isLast = true;
        await decidesAgain();
        expect((await home.current(ref)).info.version).toBe(older);
        objects.put(ref.url, "two");
      }
      answers.forEach(onAnswer);
    };
    expect((await homes.whileTimePasses(other.current(ref))).info.version).toBe(older);
    expect(other.origin.calls.length).toBeGreaterThan(0);
  });

  it("is asked for at the origin before the home decides, if the home has said that it does not to a member that must know", async () => {
    await home.local.current(ref, new AbortController().signal);
    await homes.whileTimePasses(other.current(ref));
    expect(home.local.records.isExpired(ref.url)).toBe(true);
  });

  it("is not answered with an older version when the home decides again", async () => {
    await home.local.current(ref, new AbortController().signal);
    const newer = objects.put(ref.url, "two");
    expect((await homes.whileTimePasses(other.current(ref))).info.version).toBe(newer);
    await decidesAgain();
    expect((await homes.whileTimePasses(home.current(ref))).info.version).toBe(newer);
  });
});
