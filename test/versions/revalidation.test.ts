import { parseObjectUrl } from "@frontcache/proto";
import {
  type LocalCacheOptions,
  ManualClock,
  MemoryObjects,
  MemoryOrigin,
  type ReadResult,
  retrying,
} from "@frontcache/server/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type SimulatedCache, simulatedCache } from "./simulated-cache.js";

const URL = "s3://bucket/object";

let clock: ManualClock;
let objects: MemoryObjects;
let origin: MemoryOrigin;
let member: SimulatedCache | undefined;

beforeEach(() => {
  clock = new ManualClock();
  objects = new MemoryObjects();
  origin = new MemoryOrigin(objects, clock, 512);
});

afterEach(async () => {
  await member?.close();
  member = undefined;
});

/** Starts the member, again on its disk where it ran before. */
async function start(options: Partial<LocalCacheOptions> = {}): Promise<void> {
  await member?.close();
  member = await simulatedCache(origin, clock, options, member?.disk);
}

/** The first letters of the object and where they came from. */
async function read(version?: string): Promise<{ text: string; version: string; result: ReadResult }> {
  const range = { blockOffset: 0, start: 0, end: 3, openEnded: false, cachedOnly: false };
  const opened = await member!.cache.open({ ref: parseObjectUrl(URL), version, ...range, signal: new AbortController().signal });
  let text = "";
  for (let slice = await opened.next(); slice !== undefined; slice = await opened.next()) {
    text += slice.bytes.toString();
    slice.release();
  }
  opened.close();
  await member!.cache.settled(); // until what came is in its block file
  return { text, version: opened.info.version, result: opened.result };
}

const MOST_TURNS = 100_000;

/** What comes of the work and the simulated time that it took, which passes whenever the work waits for nothing else. */
async function timed<T>(work: Promise<T>): Promise<{ outcome: T; tookMs: number }> {
  let done = false;
  const beganMs = clock.nowMs();
  const outcome = work.finally(() => {
    done = true;
  });
  outcome.catch(() => {});
  for (let turn = 0; !done; turn++) {
    if (turn === MOST_TURNS) throw new Error("the work waits for something else than time");
    await new Promise((resolve) => setImmediate(resolve));
    if (!done && clock.nextInMs !== undefined && origin.open === 0) clock.advance(clock.nextInMs);
    else if (!done && origin.open > 0) clock.advance(100);
  }
  return { outcome: await outcome, tookMs: clock.nowMs() - beganMs };
}

describe("an object that was overwritten", () => {
  it("is answered by what was seen last until that is --revalidate-after old, and from then on by what is current", async () => {
    await start({ revalidateAfterMs: 60_000 });
    const old = objects.put(URL, "old");
    expect(await read()).toEqual({ text: "old", version: old, result: "filled" });
    const current = objects.put(URL, "new");
    clock.advance(59_999);
    expect(await read()).toEqual({ text: "old", version: old, result: "hit" });
    clock.advance(1);
    expect(await read()).toEqual({ text: "new", version: current, result: "filled" });
    expect(await read(old)).toEqual({ text: "old", version: old, result: "hit" });
  });

  it("is not believed any longer because the wall clock is set back", async () => {
    await start({ revalidateAfterMs: 60_000 });
    objects.put(URL, "old");
    await read();
    objects.put(URL, "new");
    clock.jumpWall(-50_000);
    clock.advance(60_000);
    expect(await read()).toMatchObject({ text: "new" });
  });

  it("is as old as it was at a restart, although the wall clock is set back before its first read", async () => {
    await start({ revalidateAfterMs: 60_000 });
    objects.put(URL, "old");
    await read();
    objects.put(URL, "new");
    clock.advance(59_000);
    await start({ revalidateAfterMs: 60_000 });
    clock.jumpWall(-30_000);
    clock.advance(1_000);
    expect(await read()).toMatchObject({ text: "new" });
  });

  it("is asked for after a restart at which its block seems to come from the future", async () => {
    await start({ revalidateAfterMs: 60_000 });
    objects.put(URL, "old");
    await read();
    objects.put(URL, "new");
    clock.jumpWall(-20_000);
    await start({ revalidateAfterMs: 60_000 });
    expect(await read()).toMatchObject({ text: "new" });
  });

  it("is asked for each time with 0, and never with never", async () => {
    await start({ revalidateAfterMs: 0 });
    for (const text of ["one", "two", "six"]) {
      objects.put(URL, text);
      expect((await read()).text).toBe(text);
      clock.advance(1);
    }
    await start({ revalidateAfterMs: Number.POSITIVE_INFINITY });
    await read();
    objects.put(URL, "ten");
    clock.advance(365 * 24 * 3_600_000);
    expect(await read()).toMatchObject({ text: "six", result: "hit" });
  });

  it("is not what a read of its old version gets, cached or not", async () => {
    await start();
    const old = objects.put(URL, "old");
    const current = objects.put(URL, "new");
    await expect(read(old)).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
    expect(await read(current)).toMatchObject({ text: "new" });
    await expect(read(old)).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
    expect(await read()).toMatchObject({ text: "new", version: current });
  });
});

describe("an origin that is down", () => {
  const down = () => origin.faults.place({ error: "UNAVAILABLE" });

  it("does not keep cached bytes from readers: they are served, and count as stale", async () => {
    await start();
    const version = objects.put(URL, "old");
    await read();
    const up = down();
    expect(await read()).toMatchObject({ result: "hit" });
    clock.advance(60_000);
    expect(await read()).toEqual({ text: "old", version, result: "stale" });
    expect(await read(version)).toEqual({ text: "old", version, result: "hit" });
    up();
    objects.put(URL, "new");
    clock.advance(1_000);
    expect(await read()).toMatchObject({ text: "new" });
  });

  it("is not asked again by each read of a moment", async () => {
    await start();
    objects.put(URL, "old");
    await read();
    down();
    clock.advance(60_000);
    origin.calls.length = 0;
    for (let i = 0; i < 10; i++) expect(await read()).toMatchObject({ text: "old", result: "stale" });
    expect(origin.calls.length).toBe(1);
  });

  it("is waited for at most 250 ms if bytes are cached, and with all retries if they are not", async () => {
    const retries = { attempts: 6, baseDelayMs: 100, maxDelayMs: 5_000, headTimeoutMs: 10_000, idleTimeoutMs: 5_000 };
    const withFallback = { attempts: 2, headTimeoutMs: 3_000 };
    const patient = retrying({ ...retries, withFallback, onRetry: () => {} }, clock, () => 1)(origin);
    member = await simulatedCache(patient, clock);
    const version = objects.put(URL, "old");
    await read();
    clock.advance(60_000);
    for (const [fault, patienceMs] of [
      [{ error: "UNAVAILABLE" }, 100],
      // Time passes in steps of 100 ms.
      [{ latencyMs: 3_600_000 }, 300],
    ] as const) {
      const up = origin.faults.place(fault);
      const stale = await timed(read());
      expect(stale.outcome).toMatchObject({ text: "old", version, result: "stale" });
      expect(stale.tookMs).toBeLessThanOrEqual(patienceMs);
      const looked = await timed(member.cache.stat(parseObjectUrl(URL), undefined, new AbortController().signal));
      expect(looked.outcome).toMatchObject({ version });
      expect(looked.tookMs).toBeLessThanOrEqual(patienceMs);
      up();
      // The questions continue in the background.
      for (let seconds = 0; seconds < 60; seconds++) {
        clock.advance(1_000);
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
    await member.cache.evict({ url: URL });
    down();
    origin.calls.length = 0;
    await expect(timed(read())).rejects.toMatchObject({ code: "UNAVAILABLE" });
    // Of the six of a read, two are kept for the next member.
    expect(origin.calls.length).toBe(4);
    expect(clock.waits).toBe(1); // the purger's
  });

  it("does so over a restart of the member, too", async () => {
    await start();
    const version = objects.put(URL, "old");
    await read();
    down();
    clock.advance(3_600_000);
    await start();
    expect(await read()).toEqual({ text: "old", version, result: "stale" });
  });

  it("fails reads past --revalidate-after without --stale-if-error, but not those of a cached version", async () => {
    await start({ staleIfError: false });
    const version = objects.put(URL, "old");
    await read();
    down();
    clock.advance(60_000);
    await expect(read()).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(await read(version)).toMatchObject({ text: "old", result: "hit" });
  });

  it("is another thing than an object that is gone: that is NOT_FOUND, whatever is cached", async () => {
    await start();
    objects.put(URL, "old");
    await read();
    objects.delete(URL);
    clock.advance(60_000);
    await expect(read()).rejects.toMatchObject({ code: "NOT_FOUND" });
  });
});
