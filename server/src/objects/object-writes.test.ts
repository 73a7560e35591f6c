import type { ObjectRef } from "@frontcache/proto";
import type { ManualClock } from "@frontcache/proto/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { MemoryObjects } from "../testing/origin/memory-objects.js";
import { listOf, objectOf, TestHomes, type TestMember } from "../testing/test-homes.js";
import { LEASE_MS } from "./granted-leases.js";
import type { ObjectWrite } from "./object-writes.js";
import { WRITE_MS } from "./running-writes.js";

const { signal } = new AbortController();

let homes: TestHomes;
let clock: ManualClock;
let objects: MemoryObjects;
let gone: Set<string>;

beforeEach(() => {
  // So long that each record counts that a member has.
  homes = new TestHomes({ revalidateAfterMs: 600_000 });
  ({ clock, objects, gone } = homes);
});

afterEach(() => homes.close());

/** Reports stages of one write through a member. */
async function write(through: TestMember, ref: ObjectRef, ...stages: ObjectWrite["stage"][]): Promise<void> {
  for (const stage of stages)
    await homes.whileTimePasses(through.homes.written(ref, { id: `${through.self.name}/1`, stage }, signal));
}

/** The version that a member returns. */
async function versionAt(member: TestMember, ref: ObjectRef): Promise<string> {
  return (await homes.whileTimePasses(member.current(ref))).info.version;
}

/** The origin takes the write late. Expects the member to return the new version. */
async function expectLateEffect(member: TestMember, ref: ObjectRef): Promise<void> {
  await versionAt(member, ref);
  const late = objects.put(ref.url, `taken at ${clock.monotonicMs()}`);
  expect(await versionAt(member, ref)).toBe(late);
}

describe("a write whose outcome is not known", () => {
  it.each([
    { writer: "a", stages: ["begun"], which: "that the lost home ran itself" },
    { writer: "a", stages: ["begun", "unknown"], which: "that the lost home ran itself and that failed" },
    { writer: "c", stages: ["begun", "unknown"], which: "that another member ran and reported to the lost home" },
  ] as const)("has the next member ask the origin for each read: one $which", async ({ writer, stages }) => {
    const [a, b, c] = await homes.startAll("a", "b", "c");
    const ref = objectOf(listOf("a", "b", "c"), "a", "b");
    objects.put(ref.url, "one");
    await c!.current(ref);
    await write({ a: a!, c: c! }[writer], ref, ...stages);
    gone.add("a");
    await expectLateEffect(c!, ref);
    await expectLateEffect(b!, ref);
  });

  it("has the next member ask the origin no longer than the write counts as running", async () => {
    const [a, b] = await homes.startAll("a", "b");
    const ref = objectOf(listOf("a", "b"), "a", "b");
    const version = objects.put(ref.url, "one");
    await write(a!, ref, "begun");
    gone.add("a");
    clock.advance(WRITE_MS);
    expect(await versionAt(b!, ref)).toBe(version);
    clock.advance(2 * LEASE_MS);
    expect(await versionAt(b!, ref)).toBe(version);
    objects.put(ref.url, "two");
    expect(await versionAt(b!, ref)).toBe(version);
  });

  it("is known to a home that has started again", async () => {
    const [, b, c] = await homes.startAll("a", "b", "c");
    const ref = objectOf(listOf("a", "b", "c"), "a", "b");
    objects.put(ref.url, "one");
    await write(c!, ref, "begun", "unknown");
    const again = await homes.start("a", listOf("a", "b", "c"));
    await homes.whileTimePasses(again.homes.tookOver());
    await expectLateEffect(b!, ref);
    await expectLateEffect(again, ref);
  });

  it("is known to a member that joins and becomes the home", async () => {
    const [a, b] = await homes.startAll("a", "b");
    const ref = objectOf(listOf("a", "b", "c"), "c", "a");
    objects.put(ref.url, "one");
    await write(b!, ref, "begun", "unknown");
    const c = await homes.start("c", listOf("a", "b", "c"));
    for (const member of [a!, b!]) member.update(listOf("a", "b", "c"));
    await homes.whileTimePasses(c.homes.tookOver());
    await expectLateEffect(b!, ref);
    await expectLateEffect(c, ref);
  });
});

describe("a write that the home runs itself", () => {
  it.each(["written", "refused"] as const)("is forgotten by the next member when it is %s", async (stage) => {
    const [a, b] = await homes.startAll("a", "b");
    const ref = objectOf(listOf("a", "b"), "a", "b");
    const version = objects.put(ref.url, "one");
    await write(a!, ref, "begun", stage);
    gone.add("a");
    expect(await versionAt(b!, ref)).toBe(version);
    clock.advance(2 * LEASE_MS);
    expect(await versionAt(b!, ref)).toBe(version);
    objects.put(ref.url, "two");
    expect(await versionAt(b!, ref)).toBe(version);
  });

  it("goes on when the next member stands still", async () => {
    const [a, b] = await homes.startAll("a", "b");
    const ref = objectOf(listOf("a", "b"), "a", "b");
    const { lookUpRecords } = a!.connections.objects;
    a!.connections.objects.lookUpRecords = async (address, request, onAnswer, limits) => {
      if (request.questions.some(({ writeStage }) => writeStage === "announced")) await new Promise<never>(() => {});
      return lookUpRecords(address, request, onAnswer, limits);
    };
    await write(a!, ref, "begun", "written");
    expect(b!.origin.calls).toEqual([]);
  });
});

describe("a write while the next member decides in place of the home", () => {
  /** The next member remembers what it observed in place of the home. */
  async function substituted(): Promise<{ ref: ObjectRef; b: TestMember; c: TestMember }> {
    const [, b, c] = await homes.startAll("a", "b", "c");
    const ref = objectOf(listOf("a", "b", "c"), "a", "b");
    const version = objects.put(ref.url, "one");
    gone.add("a");
    await versionAt(b!, ref);
    clock.advance(2 * LEASE_MS);
    expect(await versionAt(b!, ref)).toBe(version);
    return { ref, b: b!, c: c! };
  }

  it("is reported to it although the home, which is starting, refuses the report", async () => {
    const { ref, b, c } = await substituted();
    gone.clear();
    homes.refusing.add("a");
    homes.calls.length = 0;
    await write(c, ref, "begun");
    expect(homes.calls.slice(0, 2)).toEqual(["lookUp c>a", "lookUp c>b"]);
    const newer = objects.put(ref.url, "two");
    await write(c, ref, "written");
    expect(await versionAt(b, ref)).toBe(newer);
  });

  it("is not hidden by what it remembers if the writer has left it out, because it did not answer a moment ago", async () => {
    const { ref, b, c } = await substituted();
    c.route = () => ({ others: [], thenHere: false });
    await write(c, ref, "begun");
    const newer = objects.put(ref.url, "two");
    await write(c, ref, "written");
    expect(await versionAt(b, ref)).toBe(newer);
  });
});
