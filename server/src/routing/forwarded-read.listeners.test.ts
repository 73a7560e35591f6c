import { CacheError, parseObjectUrl } from "@frontcache/proto";
import { eventually, settled } from "@frontcache/proto/testing";
import { status } from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { BlockRequest } from "../cache/block-request.js";
import { noSecurity } from "../security/member-security.js";
import { AnsweringMember, sendError, sendRamp } from "../testing/answering-member.js";
import { restOf } from "../testing/cache-fixture.js";
import { ManualClock } from "../testing/manual-clock.js";
import { rampBytes } from "../testing/origin/ramp.js";
import { ForwardedRead } from "./forwarded-read.js";
import { openGrpcChannel } from "./grpc-member-channel.js";
import type { MemberChannel } from "./member-channel.js";
import { MemberLink, Unreachable } from "./member-link.js";

const KiB = 1 << 10;
const BLOCK = 64 * KiB;

let member: AnsweringMember;
let link: MemberLink;
let clock: ManualClock;

beforeEach(async () => {
  member = await AnsweringMember.start("a");
  clock = new ManualClock();
  link = new MemberLink(member.info, clock, openGrpcChannel(member.info, noSecurity));
});

afterEach(async () => {
  link.close();
  await member.kill();
  expect(clock.waits).toBe(0);
});

function request(wanted: Partial<BlockRequest> = {}): BlockRequest {
  const ref = parseObjectUrl("s3://bucket/key");
  const { signal } = new AbortController();
  const range = { blockOffset: BLOCK, start: 100, end: 10_100, openEnded: false };
  return { ref, version: "v1", ...range, cachedOnly: false, signal, ...wanted };
}

describe("a read that another member answers", () => {
  it("brings the bytes, and what is known of the object", async () => {
    member.onRead = (call) => sendRamp(call, { size: 200_000, contentType: "text/plain" });
    const read = await ForwardedRead.open(link, request());
    expect(read.info).toEqual({ version: "v1", objectSize: 200_000, contentType: "text/plain" });
    expect([read.offset, read.length, read.result]).toEqual([BLOCK + 100, 10_000, "forwarded"]);
    expect(await restOf(read)).toEqual(rampBytes(BLOCK + 100, 10_000, 0));
    const asked = { key: "s3://bucket/key", offset: BLOCK + 100, length: 10_000, version: "v1", cachedOnly: false };
    expect(member.reads).toEqual([{ ...asked, forwarded: true }]);
  });

  it("ends where the object ends", async () => {
    member.onRead = (call) => sendRamp(call, { size: BLOCK + 5_000 });
    const read = await ForwardedRead.open(link, request());
    expect(read.length).toBe(4_900);
    expect(await restOf(read)).toEqual(rampBytes(BLOCK + 100, 4_900, 0));
    expect(await read.next()).toBeUndefined();
  });

  it.each(["NOT_FOUND", "UNAVAILABLE", "RESOURCE_EXHAUSTED", "INTERNAL"] as const)(
    "fails with the member's own %s",
    async (code) => {
      member.onRead = (call) => sendError(call, new CacheError(code, "in its own words"));
      const error = await ForwardedRead.open(link, request()).catch((thrown) => thrown);
      expect(error).toMatchObject({ code, message: "in its own words" });
      expect(error).not.toBeInstanceOf(Unreachable);
    },
  );

  it("says that the member is out of reach when it is starting, when it is killed, and when nobody listens", async () => {
    member.onRead = (call) => call.emit("error", { code: status.UNAVAILABLE, details: "starting" });
    await expect(ForwardedRead.open(link, request())).rejects.toBeInstanceOf(Unreachable);
    member.onRead = (call) => sendRamp(call, { size: 200_000, onlyBytes: 2_000 });
    const read = await ForwardedRead.open(link, request());
    const broken = expect(restOf(read)).rejects.toBeInstanceOf(Unreachable);
    await member.kill();
    await broken;
    await expect(ForwardedRead.open(link, request())).rejects.toBeInstanceOf(Unreachable);
  });

  it.each([
    ["another version", { size: 200_000, version: "v2" }, /is of version "v2"/],
    ["no version", { size: 200_000, version: "" }, /is of version ""/],
    ["a size that ends before the range", { size: BLOCK }, /ended too soon/],
  ])("refuses %s", async (_, sent, message) => {
    member.onRead = (call) => sendRamp(call, sent);
    const refused = ForwardedRead.open(link, request());
    await expect(refused).rejects.toMatchObject({ code: "INTERNAL", message: expect.stringMatching(message) });
  });

  it("refuses bytes beyond its range, and too few", async () => {
    member.onRead = (call) => {
      call.write({ data: Buffer.alloc(9_999), version: "v1", objectSize: 200_000 });
      call.write({ data: Buffer.alloc(2), version: "", objectSize: 0 });
    };
    await expect(restOf(await ForwardedRead.open(link, request()))).rejects.toThrow(/is longer than its range/);
    await eventually(() => expect(member.left).toBe(1));
    member.onRead = (call) => {
      call.write({ data: Buffer.alloc(9_999), version: "v1", objectSize: 200_000 });
      call.end();
    };
    await expect(restOf(await ForwardedRead.open(link, request()))).rejects.toThrow(/ended too soon/);
  });

  it("is cancelled at the member when its reader leaves, before or after the first bytes", async () => {
    member.onRead = () => {};
    const early = new AbortController();
    const opening = ForwardedRead.open(link, request({ signal: early.signal }));
    await eventually(() => expect(member.reads).toHaveLength(1));
    early.abort(new CacheError("CANCELLED", "gone"));
    await expect(opening).rejects.toMatchObject({ code: "CANCELLED", message: "gone" });
    await eventually(() => expect(member.left).toBe(1));

    member.onRead = (call) => sendRamp(call, { size: 200_000, onlyBytes: 2_000 });
    (await ForwardedRead.open(link, request())).close();
    await eventually(() => expect(member.left).toBe(2));

    const late = new AbortController();
    const reading = restOf(await ForwardedRead.open(link, request({ signal: late.signal })));
    late.abort(new CacheError("CANCELLED", "gone"));
    await expect(reading).rejects.toMatchObject({ code: "CANCELLED", message: "gone" });
    await eventually(() => expect(member.left).toBe(3));
  });

  it("ends at once when its reader leaves while a connection is waited for", async () => {
    const never = () => new Promise<never>(() => {});
    const readRange = () => expect.fail("it is not connected");
    const channel: MemberChannel = {
      connected: false,
      connect: never,
      probe: never,
      evict: never,
      warm: never,
      readRange,
      close() {},
    };
    const reader = new AbortController();
    const opening = ForwardedRead.open(new MemberLink(member.info, clock, channel), request({ signal: reader.signal }));
    reader.abort(new CacheError("CANCELLED", "gone"));
    await expect(opening).rejects.toMatchObject({ code: "CANCELLED", message: "gone" });
  });

  it("asks nobody for a reader that has left before", async () => {
    await expect(
      ForwardedRead.open(link, request({ signal: AbortSignal.abort(new CacheError("CANCELLED", "gone")) })),
    ).rejects.toThrow("gone");
    expect(member.reads).toEqual([]);
  });

  it("holds no more for a slow reader than HTTP/2's window and sixteen messages", async () => {
    const MiB = 1 << 20;
    let taken = 0;
    member.onRead = (call) => {
      const data = Buffer.alloc(MiB);
      const write = (first: boolean): void => {
        taken++;
        call.write({ data, version: first ? "v1" : "", objectSize: first ? 64 * MiB : 0 }, () => taken < 64 && write(false));
      };
      write(true);
    };
    const read = await ForwardedRead.open(link, request({ blockOffset: 0, start: 0, end: 64 * MiB }));
    await settled(() => taken);
    // Four MiB of window, the 17 here, and what is on its way.
    expect(taken).toBeLessThan(24);
    read.close();
  });

  it("waits for a silent member as long as it is there, and gives it up when it is not", async () => {
    let go!: () => void;
    member.onRead = (call) => {
      go = () => sendRamp(call, { size: 200_000, onlyBytes: 2_000 });
    };
    const opening = ForwardedRead.open(link, request());
    await eventually(() => expect(member.reads).toHaveLength(1));
    for (let second = 0; second < 3; second++) {
      clock.advance(1_000);
      // Found there, it is waited for anew.
      await eventually(() => expect(clock.waits).toBe(1));
    }
    go();
    const gone = expect(restOf(await opening)).rejects.toBeInstanceOf(Unreachable);
    member.onProbe = "starting";
    await eventually(() => {
      clock.advance(1_000);
      expect(member.left).toBe(1);
    });
    await gone;
  });
});
