import { type BlockLanding, type CallLimits, Unreachable } from "@frontcache/client/members";
import { CacheError, parseObjectUrl } from "@frontcache/proto";
import { ManualClock } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import type { BlockRequest } from "../cache/block-request.js";
import { RecentCallers } from "../security/recent-callers.js";
import { restOf } from "../testing/cache-fixture.js";
import { rampBytes } from "../testing/origin/ramp.js";
import { evenly } from "../testing/other-members.js";
import { MemberReads } from "./member-read.js";

const SIZE = 4 << 20;
const ref = parseObjectUrl("s3://bucket/key");
const reads = (): MemberReads => new MemberReads(evenly(new ManualClock()), new RecentCallers());

function request(end = SIZE, signal = new AbortController().signal): BlockRequest {
  return { ref, version: "v1", blockOffset: 0, start: 0, end, openEnded: false, cachedOnly: false, signal };
}

/** Lands bytes as a transport does, until there are enough or the read takes no more; returns whether it takes more. */
function land(landing: BlockLanding, bytes: number): boolean {
  const end = landing.landedBytes + bytes;
  let more = true;
  while (landing.landedBytes < end && more) {
    const room = landing.room();
    const count = Math.min(room.length, end - landing.landedBytes);
    rampBytes(landing.landedBytes, count, 0).copy(room);
    more = landing.landed(count);
  }
  return more;
}

describe("a read that other members answer", () => {
  it("hands out the bytes in order, pauses its sender at a bound, and resumes it when some are taken", async () => {
    let landing!: BlockLanding;
    let finish!: () => void;
    let resumed = 0;
    const fetch = (target: BlockLanding): Promise<void> => {
      landing = target;
      landing.nextRequest();
      landing.open({ version: "v1", objectSize: SIZE }, { resume: () => resumed++ });
      return new Promise((resolve) => {
        finish = resolve;
      });
    };
    const read = await reads().open(request(), { fetch });
    expect([read.info, read.length]).toEqual([{ version: "v1", objectSize: SIZE, lacks: "checksums" }, SIZE]);
    const pieces: Buffer[] = [];
    for (let at = 0; at < SIZE; ) {
      const isPaused = !land(landing, SIZE - at);
      expect(landing.landedBytes - at).toBeLessThanOrEqual(1 << 20);
      const before = resumed;
      for (; at < landing.landedBytes; ) {
        const slice = (await read.next())!;
        pieces.push(Buffer.from(slice.bytes));
        at += slice.bytes.length;
        slice.release();
      }
      if (isPaused && !landing.complete) expect(resumed).toBe(before + 1);
    }
    finish();
    expect(await read.next()).toBeUndefined();
    expect(Buffer.concat(pieces).equals(rampBytes(0, SIZE, 0))).toBe(true);
    read.close();
  });

  it("goes on elsewhere with the rest when no member can be reached any more", async () => {
    const fetch = async (landing: BlockLanding): Promise<void> => {
      landing.nextRequest();
      landing.open({ version: "v1", objectSize: SIZE }, { resume: () => undefined });
      land(landing, 1_000);
      throw new Unreachable("gone");
    };
    let rest: BlockRequest | undefined;
    const resume = (requested: BlockRequest) => {
      rest = requested;
      return reads().open(requested, {
        async fetch(landing) {
          landing.nextRequest();
          landing.open({ version: "v1", objectSize: SIZE }, { resume: () => undefined });
          const { offset, length } = landing.span;
          rampBytes(offset, length, 0).copy(landing.room());
          landing.landed(length);
        },
      });
    };
    const read = await reads().open(request(5_000), { fetch, resume });
    expect((await restOf(read)).equals(rampBytes(0, 5_000, 0))).toBe(true);
    expect(rest).toMatchObject({ start: 1_000, end: 5_000, version: "v1" });
  });

  it.each([
    { bytes: 1_000, ended: undefined, what: "lets its call end by itself if it has all bytes" },
    { bytes: 999, ended: "CANCELLED", what: "aborts its call if bytes are missing" },
  ])("$what when it is closed", async ({ bytes, ended }) => {
    let call!: CallLimits;
    const fetch = async (landing: BlockLanding, limits: CallLimits): Promise<void> => {
      call = limits;
      landing.nextRequest();
      landing.open({ version: "v1", objectSize: SIZE }, { resume: () => undefined });
      land(landing, bytes);
      await new Promise(() => {});
    };
    const read = await reads().open(request(1_000), { fetch });
    (await read.next())!.release();
    read.close();
    expect(call.ended?.code).toBe(ended);
  });

  it("ends, and asks for nothing elsewhere, if a member is lost after its last byte", async () => {
    const fetch = async (landing: BlockLanding): Promise<void> => {
      landing.nextRequest();
      landing.open({ version: "v1", objectSize: SIZE }, { resume: () => undefined });
      land(landing, 1_000);
      throw new Unreachable("gone");
    };
    const resumed: BlockRequest[] = [];
    const resume = async (requested: BlockRequest): Promise<never> => {
      resumed.push(requested);
      throw new Unreachable("gone, too");
    };
    const read = await reads().open(request(1_000), { fetch, resume });
    expect((await restOf(read)).equals(rampBytes(0, 1_000, 0))).toBe(true);
    expect(resumed).toEqual([]);
    read.close();
  });

  it("resumes a sender that is paused before its end when it is closed with all bytes", async () => {
    let resumed = 0;
    const fetch = async (landing: BlockLanding): Promise<void> => {
      landing.nextRequest();
      landing.open({ version: "v1", objectSize: SIZE }, { resume: () => resumed++ });
      // What is on its way arrives nevertheless.
      while (!landing.complete) expect(land(landing, 512 << 10)).toBe(false);
      await new Promise(() => {});
    };
    const read = await reads().open(request(1 << 20), { fetch });
    expect(resumed).toBe(0);
    read.close();
    expect(resumed).toBe(1);
  });

  it("fails with what ended it: the members' error, or its own signal", async () => {
    const failing = async (): Promise<void> => {
      throw new CacheError("NOT_FOUND", "no such object");
    };
    await expect(reads().open(request(), { fetch: failing })).rejects.toMatchObject({ code: "NOT_FOUND" });
    const abort = new AbortController();
    const opening = reads().open(request(SIZE, abort.signal), {
      fetch: (_, limits) => new Promise((_resolve, reject) => void limits.onEnd(() => reject(limits.ended))),
    });
    abort.abort(new CacheError("CANCELLED", "the client went away"));
    await expect(opening).rejects.toMatchObject({ code: "CANCELLED", message: "the client went away" });
  });
});
