import { Unreachable } from "@frontcache/client/members";
import { CacheError, parseObjectUrl } from "@frontcache/proto";
import type { ManualClock } from "@frontcache/proto/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { requestBudget } from "../origin/request-budget.js";
import type { MemoryObjects } from "../testing/origin/memory-objects.js";
import { objectOf, TestHomes } from "../testing/test-homes.js";
import { CLIENT_LEASE_MS, LEASE_MS } from "./granted-leases.js";

const { signal } = new AbortController();

let homes: TestHomes;
let clock: ManualClock;
let objects: MemoryObjects;
let gone: Set<string>;
let calls: string[];

beforeEach(() => {
  homes = new TestHomes();
  ({ clock, objects, gone, calls } = homes);
});

afterEach(() => homes.close());

describe("the record of an object", () => {
  it("is asked for at its home, then answered by a lease, and again at the home when the lease is over", async () => {
    const [a, b] = await homes.startAll("a", "b");
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

  it.each([
    { wasSent: true, left: 1, lost: 3, which: "that are kept for this case if the home may have sent its own" },
    { wasSent: false, left: 3, lost: 0, which: "that the home was allowed if it cannot have received the question" },
  ])(
    "is asked for at the next member if the home is lost, with the requests to the origin $which",
    async ({ wasSent, left, lost }) => {
      const [, , c] = await homes.startAll("a", "b", "c");
      const ref = objectOf(c!.view.current, "a", "b");
      const version = objects.put(ref.url, "one");
      const { lookUpRecords } = c!.connections.objects;
      const allowed: [string, number][] = [];
      c!.connections.objects.lookUpRecords = async (address, request, onAnswer, limits) => {
        allowed.push([address.grpcAddress, request.questions[0]!.originRequests]);
        // The home receives the question, and its answer is lost.
        await lookUpRecords(address, request, address.grpcAddress === "a:1" ? () => {} : onAnswer, limits);
        if (address.grpcAddress === "a:1") throw new Unreachable("a is lost", { wasSent });
      };
      const budget = requestBudget({ version: undefined });
      const answered = await c!.homes.current(ref, signal, { budget });
      expect(allowed).toEqual([
        ["a:1", 3],
        ["b:1", left],
      ]);
      expect(answered).toMatchObject({ info: { version }, lostRequests: lost });
    },
  );

  it("is renewed while it is in use, in one call for all objects of a home", async () => {
    const [a, b] = await homes.startAll("a", "b");
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
    const [a, b] = await homes.startAll("a", "b");
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
    const [a, b] = await homes.startAll("a", "b");
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

  it("does not change before the lease of a client has ended, which only the home grants, of the current version", async () => {
    const [a, b] = await homes.startAll("a", "b");
    const { url } = objectOf(a!.view.current, "a");
    const ref = parseObjectUrl(url);
    const older = objects.put(url, "one");
    await b!.current(ref);
    expect(b!.homes.service.leaseToClient(url, older)).toBe(0);
    expect(a!.homes.service.leaseToClient(url, "another version")).toBe(0);
    expect(a!.homes.service.leaseToClient("s3://bucket/unknown", older)).toBe(0);
    expect(a!.homes.service.leaseToClient(url, older)).toBe(CLIENT_LEASE_MS);
    clock.advance(CLIENT_LEASE_MS / 2);
    expect(a!.homes.service.leaseToClient(url, older)).toBe(CLIENT_LEASE_MS);
    const newer = objects.put(url, "two");
    a!.local.records.expire(url);
    let changed = false;
    const change = a!.current(ref).then(({ info }) => {
      changed = true;
      return info.version;
    });
    clock.advance(CLIENT_LEASE_MS - 1);
    await new Promise((resolve) => setImmediate(resolve));
    expect(changed).toBe(false);
    expect(a!.homes.service.leaseToClient(url, older)).toBe(0);
    clock.advance(1);
    expect(await change).toBe(newer);
    expect(a!.homes.service.leaseToClient(url, newer)).toBe(CLIENT_LEASE_MS);
  });

  it.each([
    ["continues if the home cannot be asked", new CacheError("UNAVAILABLE", "the origin is down"), undefined],
    ["fails by a defect that the home reports", new CacheError("INTERNAL", "a defect"), "a defect"],
  ] as const)("whose version was rejected %s", async (_, failure, expected) => {
    const [a, b] = await homes.startAll("a", "b");
    const ref = objectOf(a!.view.current, "a");
    b!.connections.objects.lookUpRecords = async () => {
      throw failure;
    };
    const rejected = b!.homes.rejected(ref, "v1", signal).then(
      () => undefined,
      (error: Error) => error.message,
    );
    expect(await rejected).toBe(expected);
  });

  it("is asked for anew when the origin rejected its version elsewhere", async () => {
    const [a, b] = await homes.startAll("a", "b");
    const ref = objectOf(a!.view.current, "a");
    const older = objects.put(ref.url, "one");
    await b!.current(ref);
    const newer = objects.put(ref.url, "two");
    await b!.homes.rejected(ref, older, signal);
    expect((await b!.current(ref)).info.version).toBe(newer);
    expect((await a!.current(ref)).info.version).toBe(newer);
  });

  it("is the one that a client requires, although the home leased an older one before it was lost", async () => {
    const [a, b] = await homes.startAll("a", "b");
    const ref = objectOf(a!.view.current, "a");
    objects.put(ref.url, "one");
    await b!.current(ref);
    gone.add("a");
    const version = objects.put(ref.url, "two");
    await homes.whileTimePasses(b!.homes.verify(ref, version, signal));
    expect((await homes.whileTimePasses(b!.current(ref))).info.version).toBe(version);
  });

  it("is asked for anew when another member has received bytes of a newer version", async () => {
    const [a, b] = await homes.startAll("a", "b");
    const ref = objectOf(a!.view.current, "a");
    objects.put(ref.url, "one");
    await a!.current(ref);
    const newer = objects.put(ref.url, "two");
    await b!.homes.observed(ref, newer, signal);
    expect((await a!.current(ref)).info.version).toBe(newer);
    expect(b!.homes.observed(ref, newer, signal)).toBeUndefined();
  });

  it("is asked for anew when a listing names another version, at the home and elsewhere", async () => {
    const [a, b] = await homes.startAll("a", "b");
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
    const [a, b] = await homes.startAll("a", "b");
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
    const [a] = await homes.startAll("a", "b");
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
    const [a, b] = await homes.startAll("a", "b");
    const ref = objectOf(a!.view.current, "a");
    await expect(b!.current(ref)).rejects.toMatchObject({ code: "NOT_FOUND" });
    expect(() => b!.homes.current(ref, signal)).toThrow(CacheError);
    const version = objects.put(ref.url, "one");
    await b!.homes.observed(ref, version, signal);
    expect((await b!.current(ref)).info.version).toBe(version);
  });
});
