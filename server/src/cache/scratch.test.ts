import { DEFAULT_GEOMETRY, parseObjectUrl } from "@frontcache/proto";
import { expect, it } from "vitest";
import { MemoryObjects } from "../origin/memory-objects.js";
import { MemoryOrigin } from "../origin/memory-origin.js";
import { rampBytes } from "../origin/ramp.js";
import { ManualClock } from "../runtime/manual-clock.js";
import { BlockStore } from "../storage/block-store.js";
import { LocalCache } from "./local-cache.js";
import type { ObjectRead } from "./object-read.js";

const MiB = 1 << 20;
async function readAll(read: ObjectRead) {
  const out: Buffer[] = [];
  for (;;) {
    const s = await read.next();
    if (!s) break;
    out.push(Buffer.from(s.bytes));
    s.release();
  }
  read.close();
  return Buffer.concat(out);
}
it("scratch", async () => {
  const clock = new ManualClock();
  const objects = new MemoryObjects();
  const origin = new MemoryOrigin(objects, clock, 65536);
  const store = await BlockStore.open(undefined as never);
  const cache = new LocalCache({ geometry: DEFAULT_GEOMETRY, origin, store, clock, fill: "auto", partBytes: 4 * MiB, fillMemoryBytes: 64 * MiB, fillParallelism: 4, staleIfError: true, revalidateAfterMs: 60000, negativeTtlMs: 1000 });
  const url = "s3://bucket/x";
  const version = objects.putRamp(url, 40 * MiB + 5, 3);
  const ref = parseObjectUrl(url);
  const signal = new AbortController().signal;
  const open = (v: string | undefined, blockOffset: number, start: number, end: number) => cache.open({ ref, version: v, blockOffset, start, end, openEnded: false, cachedOnly: false, signal });
  const results = await Promise.all(Array.from({ length: 64 }, async (_, i) => readAll(await open(i % 2 ? version : undefined, 0, 100, 16 * MiB))));
  for (const b of results) expect(b.equals(rampBytes(100, 16 * MiB - 100, 3))).toBe(true);
  await cache.settled();
  console.log(origin.calls, cache.status(), origin.doubled.length);
  const tail = await readAll(await open(undefined, 32 * MiB, 5, 16 * MiB));
  expect(tail.equals(rampBytes(32 * MiB + 5, 8 * MiB, 3))).toBe(true);
  await cache.settled();
  console.log(origin.calls.slice(4), cache.status(), origin.open);
  await cache.close();
});
