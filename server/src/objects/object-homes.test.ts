import { type CallLimits, RunningCall, Unreachable } from "@frontcache/client/members";
import { CacheError, type MemberInfo, Membership, type ObjectRef, parseObjectUrl } from "@frontcache/proto";
import { eventually, ManualClock } from "@frontcache/proto/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { CurrentRecord } from "../cache/freshness.js";
import type { LocalCache } from "../cache/local-cache.js";
import { openCache } from "../testing/cache-fixture.js";
import { MemoryObjects } from "../testing/origin/memory-objects.js";
import { MemoryOrigin } from "../testing/origin/memory-origin.js";
import { evenly } from "../testing/other-members.js";
import { openStore, testGeometry } from "../testing/store-fixture.js";
import { LEASE_MS } from "./granted-leases.js";
import { ObjectHomes } from "./object-homes.js";
import type { Peers } from "./peers.js";

const REVALIDATE_AFTER_MS = 10_000;
const { signal } = new AbortController();

let clock: ManualClock;
let objects: MemoryObjects;
let members: Map<string, TestMember>;
/** Who can't be reached. */
let gone: Set<string>;
/** Calls between members, as "method from>to". */
let calls: string[];

beforeEach(() => {
  clock = new ManualClock();
  objects = new MemoryObjects();
  members = new Map();
  gone = new Set();
  calls = [];
});

afterEach(async () => {
  for (const { homes, local } of members.values()) {
    await homes.close();
    await local.close();
  }
});

const infoOf = (name: string): MemberInfo => ({ name, grpcAddress: `${name}:1` });
const listOf = (...names: string[]): Membership => Membership.of(names.map(infoOf), testGeometry.blockBytes);

/** A member that calls the others' methods directly. */
class TestMember implements Peers {
  readonly self: MemberInfo;
  readonly local: LocalCache;
  readonly origin: MemoryOrigin;
  readonly homes: ObjectHomes;
  readonly view: { current: Membership };
  readonly connections: Peers["connections"];

  private constructor(name: string, list: Membership, local: LocalCache, origin: MemoryOrigin) {
    this.self = infoOf(name);
    this.view = { current: list };
    this.local = local;
    this.origin = origin;
    this.connections = { objects: this.#calls() };
    this.homes = new ObjectHomes({
      peers: this,
      membership: list,
      clock: { ...evenly(clock), nowMs: () => clock.nowMs() },
      local,
      revalidateAfterMs: REVALIDATE_AFTER_MS,
      negativeTtlMs: 1_000,
      staleIfError: true,
      isRestarted: false,
    });
  }

  static async start(name: string, list: Membership): Promise<TestMember> {
    const stored = await openStore();
    const origin = new MemoryOrigin(objects, clock, 10_000);
    let member: TestMember | undefined;
    const onChange = (url: string): void => member?.homes.changed(url);
    const local = openCache({ ...stored, clock }, origin, { fill: "wanted", revalidateAfterMs: REVALIDATE_AFTER_MS, onChange });
    member = new TestMember(name, list, local, origin);
    members.set(name, member);
    return member;
  }

  route(url: string): ReturnType<Peers["route"]> {
    const others: MemberInfo[] = [];
    for (const member of this.view.current.owners(url, 0)) {
      if (member.name === this.self.name) return { others, thenHere: true };
      if (!gone.has(member.name)) others.push(member);
    }
    return { others, thenHere: false };
  }

  async first<Result>(candidates: readonly MemberInfo[], at: (member: MemberInfo) => Promise<Result>): Promise<Result> {
    for (const [index, member] of candidates.entries()) {
      try {
        return await at(member);
      } catch (error) {
        if (!(error instanceof Unreachable) || index === candidates.length - 1) throw error;
      }
    }
    throw new Unreachable("nobody to ask");
  }

  heardOf({ name }: MemberInfo): void {
    expect(gone.has(name)).toBe(false);
  }

  call(subject: string, of: AbortSignal): RunningCall {
    return new RunningCall({ clock: evenly(clock), subject, signal: of });
  }

  update(list: Membership): void {
    this.view.current = list;
    this.homes.update(list);
  }

  async current(ref: ObjectRef): Promise<CurrentRecord> {
    const record = await this.homes.current(ref, signal);
    return "info" in record ? record : { info: record, isStale: false };
  }

  #calls(): Peers["connections"]["objects"] {
    const at = (method: string, { grpcAddress }: { grpcAddress: string }, limits: CallLimits): ObjectHomes => {
      const name = grpcAddress.split(":")[0]!;
      if (limits.ended !== undefined) throw limits.ended;
      const member = members.get(name);
      if (gone.has(name) || gone.has(this.self.name) || member === undefined) throw new Unreachable(`${name} is unreachable`);
      calls.push(`${method} ${this.self.name}>${name}`);
      return member.homes;
    };
    return {
      lookUpRecords: async (address, request, onAnswer, limits) =>
        at("lookUp", address, limits).lookUp(request, (answers) => answers.forEach(onAnswer), limits.signal),
      renewLeases: async (address, request, limits) => at("renew", address, limits).renew(request),
      versionChanged: async (address, urls, limits) => at("changed", address, limits).versionChanged(urls),
      handOver: async (address, request, onRecord, limits) =>
        at("handOver", address, limits).handOver(request, async (records) => records.forEach(onRecord)),
    };
  }
}

/** An object whose homes by a list are these, in the order of the ring. */
function objectOf(list: Membership, ...homes: string[]): ObjectRef {
  for (let number = 0; ; number++) {
    const url = `s3://bucket/object-${number}`;
    if (homes.every((name, rank) => list.owner(url, 0, rank)?.name === name)) return parseObjectUrl(url);
  }
}

async function startAll(...names: string[]): Promise<TestMember[]> {
  const list = listOf(...names);
  const started: TestMember[] = [];
  for (const name of names) started.push(await TestMember.start(name, list));
  const tookOver = Promise.all(started.map(({ homes }) => homes.tookOver()));
  // Members that were started later were unreachable for those before.
  await eventually(async () => {
    clock.advance(200);
    expect(started.map(({ homes }) => homes.status().takeOvers)).toEqual(names.map(() => 0));
  });
  await tookOver;
  calls.length = 0;
  gone.clear();
  return started;
}

/** Settles as the work does, while the clock advances. */
async function whileTimePasses<T>(work: Promise<T>): Promise<T> {
  let isOver = false;
  work.then(
    () => {
      isOver = true;
    },
    () => {
      isOver = true;
    },
  );
  await eventually(() => {
    clock.advance(50);
    expect(isOver).toBe(true);
  });
  return work;
}

describe("the record of an object", () => {
  it("is asked for at its home, then answered by a lease, and again at the home when the lease is over", async () => {
    const [a, b] = await startAll("a", "b");
    const ref = objectOf(a!.view.current, "a");
    const version = objects.put(ref.url, "one");
    expect((await b!.current(ref)).info.version).toBe(version);
    expect((await b!.current(ref)).info.version).toBe(version);
    expect(calls).toEqual(["lookUp b>a"]);
    b!.homes.forget({ url: ref.url });
    await b!.current(ref);
    expect(calls).toEqual(["lookUp b>a", "lookUp b>a"]);
    expect(b!.origin.calls).toEqual([]);
  });

  it("is renewed while it is in use, in one call for all objects of a home", async () => {
    const [a, b] = await startAll("a", "b");
    const refs = [1, 2, 3].map((number) => {
      const list = a!.view.current;
      const prefix = `s3://bucket/${number}-`;
      let at = 0;
      while (list.owner(`${prefix}${at}`, 0)?.name !== "a") at++;
      return parseObjectUrl(`${prefix}${at}`);
    });
    for (const { url } of refs) objects.put(url, "one");
    for (const ref of refs) await b!.current(ref);
    calls.length = 0;
    for (let ms = 0; ms < 3 * LEASE_MS; ms += 100) {
      clock.advance(100);
      for (const ref of refs) expect(b!.homes.current(ref, signal)).not.toBeInstanceOf(Promise);
      await new Promise((resolve) => setImmediate(resolve));
    }
    const renewals = calls.filter((call) => call === "renew b>a").length;
    expect(renewals).toBe(calls.length);
    expect(renewals).toBeLessThanOrEqual(9);
  });

  it("is no longer leased when the home has observed another version", async () => {
    const [a, b] = await startAll("a", "b");
    const ref = objectOf(a!.view.current, "a");
    objects.put(ref.url, "one");
    await b!.current(ref);
    const newer = objects.put(ref.url, "two");
    a!.local.records.expire(ref.url);
    const observed = await a!.current(ref);
    expect(observed.info.version).toBe(newer);
    expect(calls).toContain("changed a>b");
    expect((await b!.current(ref)).info.version).toBe(newer);
  });

  it("does not change at the home before the lease of an unreachable member has expired", async () => {
    const [a, b] = await startAll("a", "b");
    const ref = objectOf(a!.view.current, "a");
    const older = objects.put(ref.url, "one");
    await b!.current(ref);
    objects.put(ref.url, "two");
    gone.add("b");
    a!.local.records.expire(ref.url);
    let changed = false;
    const change = a!.current(ref).then(() => {
      changed = true;
    });
    clock.advance(LEASE_MS / 2);
    await new Promise((resolve) => setImmediate(resolve));
    expect(changed).toBe(false);
    expect(b!.homes.current(ref, signal)).toMatchObject({ version: older });
    clock.advance(LEASE_MS / 2);
    await change;
    gone.clear();
    const asked = b!.homes.current(ref, signal);
    expect(asked).toBeInstanceOf(Promise);
    await asked;
  });

  it("is asked for anew when the origin rejected its version elsewhere", async () => {
    const [a, b] = await startAll("a", "b");
    const ref = objectOf(a!.view.current, "a");
    const older = objects.put(ref.url, "one");
    await b!.current(ref);
    const newer = objects.put(ref.url, "two");
    await b!.homes.rejected(ref, older, signal);
    expect((await b!.current(ref)).info.version).toBe(newer);
    expect((await a!.current(ref)).info.version).toBe(newer);
  });

  it("is asked for anew when another member has received bytes of a newer version", async () => {
    const [a, b] = await startAll("a", "b");
    const ref = objectOf(a!.view.current, "a");
    objects.put(ref.url, "one");
    await a!.current(ref);
    const newer = objects.put(ref.url, "two");
    await b!.homes.observed(ref, newer, signal);
    expect((await a!.current(ref)).info.version).toBe(newer);
    expect(b!.homes.observed(ref, newer, signal)).toBeUndefined();
  });

  it("is asked for anew when a listing names another version, at the home and elsewhere", async () => {
    const [a, b] = await startAll("a", "b");
    const [atHome, elsewhere] = [objectOf(a!.view.current, "a"), objectOf(a!.view.current, "b")];
    for (const ref of [atHome, elsewhere]) {
      objects.put(ref.url, "one");
      await a!.current(ref);
      await b!.current(ref);
    }
    const listed = [atHome, elsewhere].map((ref) => ({ ref, version: objects.put(ref.url, "two") }));
    await a!.homes.listed(listed);
    for (const { ref, version } of listed) {
      expect((await a!.current(ref)).info.version).toBe(version);
      expect((await b!.current(ref)).info.version).toBe(version);
    }
  });

  it("is asked for anew once only when listings keep naming a version that the object does not have", async () => {
    const [a, b] = await startAll("a", "b");
    const ref = objectOf(a!.view.current, "a");
    const version = objects.put(ref.url, "one");
    await a!.current(ref);
    const asked = a!.origin.count("stat");
    for (let pages = 0; pages < 3; pages++) {
      await a!.homes.listed([{ ref, version: "other" }]);
      await b!.homes.listed([{ ref, version: "other" }]);
    }
    expect(a!.origin.count("stat")).toBe(asked + 2);
    expect((await b!.current(ref)).info.version).toBe(version);
  });

  it("is not asked for when a listing names the known version, or objects that no member knows", async () => {
    const [a] = await startAll("a", "b");
    const known = objectOf(a!.view.current, "a");
    const version = objects.put(known.url, "one");
    await a!.current(known);
    const asked = a!.origin.calls.length;
    await a!.homes.listed([
      { ref: known, version },
      { ref: parseObjectUrl("s3://bucket/unknown-1"), version },
      { ref: parseObjectUrl("s3://bucket/unknown-2"), version },
    ]);
    expect(a!.origin.calls).toHaveLength(asked);
  });

  it("may be an absence, which is leased and revoked like a version", async () => {
    const [a, b] = await startAll("a", "b");
    const ref = objectOf(a!.view.current, "a");
    await expect(b!.current(ref)).rejects.toMatchObject({ code: "NOT_FOUND" });
    expect(() => b!.homes.current(ref, signal)).toThrow(CacheError);
    const version = objects.put(ref.url, "one");
    await b!.homes.observed(ref, version, signal);
    expect((await b!.current(ref)).info.version).toBe(version);
  });
});

describe("the next member on the ring", () => {
  it("decides while the home is gone, at once about an unchanged object, and about others when no lease can be left", async () => {
    const [, b, c] = await startAll("a", "b", "c");
    const ref = objectOf(b!.view.current, "a", "b");
    const older = objects.put(ref.url, "one");
    await b!.current(ref);
    await c!.current(ref);
    gone.add("a");
    clock.advance(2 * LEASE_MS);
    expect((await c!.current(ref)).info.version).toBe(older);
    const newer = objects.put(ref.url, "two");
    c!.homes.forget({ url: ref.url });
    expect(await whileTimePasses(c!.current(ref))).toMatchObject({ info: { version: newer } });
    expect((await b!.current(ref)).info.version).toBe(newer);
  });

  it("hands over to the home that is back", async () => {
    const [a, b] = await startAll("a", "b");
    const ref = objectOf(b!.view.current, "a", "b");
    objects.put(ref.url, "one");
    await b!.current(ref);
    gone.add("a");
    clock.advance(2 * LEASE_MS);
    const newer = objects.put(ref.url, "two");
    expect(await whileTimePasses(b!.current(ref))).toMatchObject({ info: { version: newer } });
    await a!.homes.close();
    await a!.local.close();
    gone.clear();
    const back = await TestMember.start("a", b!.view.current);
    expect(await whileTimePasses(back.current(ref))).toMatchObject({ info: { version: newer } });
    await whileTimePasses(back.homes.tookOver());
    expect(back.local.records.last(ref.url)?.version).toBe(newer);
    expect(back.homes.decides(ref.url)).toBe(true);
  });
});

describe("a member that joins", () => {
  it("takes over from the home before, which decides until it has confirmed", async () => {
    const [a, b] = await startAll("a", "b");
    const wider = listOf("a", "b", "c");
    const ref = objectOf(wider, "c", "a");
    expect(a!.view.current.owner(ref.url, 0)?.name).toBe("a");
    const version = objects.put(ref.url, "one");
    await b!.current(ref);
    const c = await TestMember.start("c", wider);
    await new Promise((resolve) => setImmediate(resolve));
    // The home before has the old list: it is asked, and does not confirm.
    expect((await c.current(ref)).info.version).toBe(version);
    expect(c.homes.decides(ref.url)).toBe(false);
    expect(a!.homes.decides(ref.url)).toBe(true);
    a!.update(wider);
    b!.update(wider);
    expect(a!.homes.decides(ref.url)).toBe(true);
    await eventually(() => {
      clock.advance(200);
      expect(c.homes.decides(ref.url)).toBe(true);
    });
    expect(a!.homes.decides(ref.url)).toBe(false);
    expect((await a!.current(ref)).info.version).toBe(version);
    // The record was handed over.
    expect(c.origin.calls).toEqual([]);
  });
});
