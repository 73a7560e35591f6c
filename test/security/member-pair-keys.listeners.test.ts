import { writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { connectClient } from "../e2e/member-process.js";
import { rampBytes } from "../emulators/s3.js";
import { scrape, sumOf } from "../metrics/scrape.js";
import { PairUnderTest } from "./member-pair.js";

const KEYS = ["first-key-of-the-members-0123456789", "other-key-of-the-members-0123456789"];
const OBJECTS = 12;
const BYTES = 1_000;

let pair: PairUnderTest;

beforeEach(async () => {
  pair = await PairUnderTest.open();
});

afterEach(() => pair[Symbol.asyncDispose]());

/** Starts two members, each with its key, or without one. */
async function start(...keys: readonly (string | undefined)[]): Promise<void> {
  const flagsOf = (index: number): string[] => {
    const key = keys[index];
    if (key === undefined) return ["--unready-grace", "0s"];
    const path = pair.path(`key-${index}`);
    writeFileSync(path, `${key}\n`);
    return ["--unready-grace", "0s", "--members-key-file", path];
  };
  await pair.start(flagsOf);
}

/** Reads every object, without a version, through every member, by both protocols; half of the reads have to be forwarded. */
async function readAll(): Promise<void> {
  for (let object = 0; object < OBJECTS; object++) pair.origin.putRamp("bucket", `object-${object}`, BYTES, object);
  for (const { http, grpc } of pair.members) {
    await using client = await connectClient({ endpoint: grpc, transport: "grpc" });
    for (let object = 0; object < OBJECTS; object++) {
      const answer = await fetch(`http://${http}/s3/bucket/object-${object}`);
      expect([answer.status, Buffer.from(await answer.arrayBuffer()).equals(rampBytes(0, BYTES, object))]).toEqual([200, true]);
      const { objectSize } = await client.stat(`s3://bucket/object-${object}`);
      expect(objectSize).toBe(BYTES);
    }
  }
}

async function refusals(): Promise<number> {
  const counts = await Promise.all(
    pair.members.map(async ({ http }) => sumOf(await scrape(http), "frontcache_member_refusals_total")),
  );
  return counts.reduce((sum, count) => sum + count, 0);
}

async function forwarded(): Promise<number> {
  const counts = await Promise.all(pair.members.map(async ({ http }) => sumOf(await scrape(http), "frontcache_forwards_total")));
  return counts.reduce((sum, count) => sum + count, 0);
}

describe("members of a static list", () => {
  it.each([
    ["with the same key", [KEYS[0], KEYS[0]]],
    ["without a key, by their addresses", [undefined, undefined]],
  ])("%s know each other: they forward reads, and nothing is refused", async (_, keys) => {
    await start(...keys);
    // A member that starts may be asked before it knows the others, and refuses that.
    const refusedByReads = async (): Promise<number> => {
      const before = await refusals();
      await readAll();
      return (await refusals()) - before;
    };
    await expect.poll(refusedByReads).toBe(0);
    expect(await forwarded()).toBeGreaterThan(0);
    const warned = (): number[] =>
      pair.members.map(({ log }) => log.filter(({ event }) => event === "members-by-address").length);
    await expect.poll(warned).toEqual(keys[0] === undefined ? [1, 1] : [0, 0]);
    for (const { log } of pair.members) expect(JSON.stringify(log)).not.toContain(KEYS[0]);
  });

  it.each([
    ["of which one has no key yet", [KEYS[0], undefined]],
    ["with different keys", KEYS],
  ])("%s do not know each other: no read fails, and the refusals are counted and logged", async (_, keys) => {
    await start(...keys);
    await readAll();
    await using client = await connectClient({ endpoint: pair.members[0]!.grpc });
    const evicted = client.evict({ url: "s3://bucket/object-0" }).then(
      () => "evicted",
      ({ message }: Error) => message,
    );
    // The members must not send it to and fro without end.
    expect(await evicted).toMatch(/^evicted$|accepted from members only/);
    expect(await refusals()).toBeGreaterThan(0);
    const events = (): unknown[] => pair.members.flatMap(({ log }) => log.map(({ event }) => event));
    await expect.poll(events).toEqual(expect.arrayContaining(["not-a-member", "members-key-unknown"]));
  });
});
