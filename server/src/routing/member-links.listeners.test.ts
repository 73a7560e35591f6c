import { eventually } from "@frontcache/proto/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { noSecurity } from "../security/member-security.js";
import { AnsweringMember } from "../testing/answering-member.js";
import { ManualClock } from "../testing/manual-clock.js";
import { openGrpcChannel } from "./grpc-member-channel.js";
import { Unreachable } from "./member-link.js";
import { MemberLinks } from "./member-links.js";

let clock: ManualClock;
let links: MemberLinks;
let member: AnsweringMember;

beforeEach(async () => {
  clock = new ManualClock();
  links = new MemberLinks(clock, (member) => openGrpcChannel(member, noSecurity));
  member = await AnsweringMember.start("a");
});

afterEach(async () => {
  links.close();
  await member.kill();
  expect(clock.waits).toBe(0);
});

/** A member that is left aside because nobody listens at its address. */
async function lost(): Promise<void> {
  await links.to(member.info).connect();
  await member.kill();
  links.lost(member.info);
}

/** Lets time pass, and the probe that then begins end: `isAside` afterwards. */
async function probedAfter(delayMs: number): Promise<boolean> {
  clock.advance(delayMs);
  links.isAside(member.info);
  await links
    .to(member.info)
    .probe()
    .catch(() => {});
  return links.isAside(member.info);
}

describe("a channel to a member", () => {
  it("is one for all who need it, and connects once for those who wait together", async () => {
    const link = links.to(member.info);
    expect(links.to({ ...member.info })).toBe(link);
    const connecting = link.connect();
    expect(link.connect()).toBe(connecting);
    await connecting;
    expect(link.connected).toBe(true);
  });

  it("is refused at once where nobody listens, and connects at once when somebody does again", async () => {
    await member.kill();
    const link = links.to(member.info);
    for (let attempt = 0; attempt < 3; attempt++) await expect(link.connect()).rejects.toBeInstanceOf(Unreachable);
    member = await AnsweringMember.start("a", member.port);
    await link.connect();
    expect(link.connected).toBe(true);
  });

  it("is proved by an answer and not by the connection", async () => {
    const link = links.to(member.info);
    await link.probe();
    member.onProbe = "starting";
    await expect(link.probe()).rejects.toBeInstanceOf(Unreachable);
    member.onProbe = "answer";
    await link.probe();
  });

  it("is another one when the member has moved", async () => {
    await using moved = await AnsweringMember.start("a");
    const before = links.to(member.info);
    const after = links.to(moved.info);
    expect(after).not.toBe(before);
    await expect(before.connect()).rejects.toBeInstanceOf(Unreachable);
    await after.connect();
  });

  it("is closed when nobody keeps the member", async () => {
    const link = links.to(member.info);
    links.retain((name) => name === "a");
    expect(links.to(member.info)).toBe(link);
    links.retain(() => false);
    await expect(link.connect()).rejects.toBeInstanceOf(Unreachable);
    expect(links.to(member.info)).not.toBe(link);
  });
});

describe("a member out of reach", () => {
  it("is left aside until a probe has reached it, which no read waits for", async () => {
    await lost();
    expect(links.isAside(member.info)).toBe(true);
    member = await AnsweringMember.start("a", member.port);
    clock.advance(249);
    expect(links.isAside(member.info)).toBe(true);
    clock.advance(1);
    expect(links.isAside(member.info)).toBe(true);
    await eventually(() => expect(links.isAside(member.info)).toBe(false));
  });

  it("is probed more and more seldom, at least every 10 s", async () => {
    await lost();
    for (const waitMs of [250, 500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]) {
      clock.advance(waitMs - 1);
      expect(links.isAside(member.info)).toBe(true);
      expect(await probedAfter(1)).toBe(true);
    }
    member = await AnsweringMember.start("a", member.port);
    expect(await probedAfter(10_000)).toBe(false);
  });

  it("is lost once by all reads that failed together", async () => {
    await lost();
    for (let read = 0; read < 100; read++) links.lost(member.info);
    member = await AnsweringMember.start("a", member.port);
    expect(await probedAfter(250)).toBe(false);
  });

  it("is not aside at a new address, whatever the old one does", async () => {
    const old = member.info;
    await lost();
    member = await AnsweringMember.start("a");
    expect(links.isAside(member.info)).toBe(false);
    links.lost(old);
    expect(links.isAside(member.info)).toBe(false);
  });
});
