import type { DiskOperation } from "@frontcache/server/testing";
import { Chance } from "../seeded-random.js";
import { FURTHEST } from "./cluster-readers.js";
import type { Action, Range, Step } from "./cluster-steps.js";
import { geometry, URLS } from "./simulated-parts.js";

const FAILPOINTS: readonly DiskOperation[] = ["open", "create", "write", "write", "remove", "deallocate", "read"];

type Make = (chance: Chance) => Action;

const makers = {
  read(chance) {
    const [readers, slowness] = [chance.happens(0.2) ? 4 : 1, chance.pick([0, 0.1, 0.3])];
    const cachedOnly = chance.happens(0.05);
    return { kind: "read", member: chance.below(5), readers, cachedOnly, slowness, ...leaves(chance), ...range(chance) };
  },
  clientRead: (chance) => ({ kind: "clientRead", client: chance.below(2), streamed: chance.happens(0.5), ...range(chance) }),
  http,
  stat: (chance) => ({
    kind: "stat",
    client: chance.below(2),
    url: chance.pick(URLS),
    ...(chance.happens(0.2) && { back: back(chance) }),
  }),
  failing: (chance) => ({
    kind: "failing",
    by: chance.pick(["member", "client"] as const),
    index: chance.below(5),
    blocks: 1 + chance.below(3),
    fails: chance.pick(["refuses", "refuses", "break", "stall"] as const),
  }),
  put: (chance) => ({ kind: "put", url: chance.pick(URLS), size: sizeOf(chance) }),
  putAgain: (chance) => ({ kind: "putAgain", url: chance.pick(URLS), back: chance.pick([0, 0, 1, 2]) }),
  delete: (chance) => ({ kind: "delete", url: chance.pick(URLS) }),
  write: (chance) => {
    const member = chance.below(5);
    return { kind: "write", member, url: chance.pick(URLS), size: sizeOf(chance), deletes: chance.happens(0.15) };
  },
  lostWrite: (chance) => ({
    kind: "lostWrite",
    url: chance.pick(URLS),
    size: sizeOf(chance),
    takenWithinMs: 5_000,
    diesAfterMs: 50 + chance.below(300),
    backAfterMs: 2_000 + chance.below(6_000),
  }),
  evict: (chance) => ({ kind: "evict", url: chance.pick(URLS), member: chance.below(5) }),
  warm: (chance) => ({ kind: "warm", url: chance.pick(URLS), client: chance.below(2) }),
  abort: () => ({ kind: "abort" }),
  poll: (chance) => ({ kind: "poll", url: chance.pick(URLS), everyMs: 10 + chance.below(50), times: 10 + chance.below(30) }),
  slowOrigin: (chance) => ({
    kind: "slowOrigin",
    latencyMs: chance.below(50),
    chunkDelayMs: chance.below(5),
    forMs: chance.below(400),
  }),
  distance: (chance) => ({
    kind: "distance",
    // Less than a read waits for: two requests in turn take no more than 250 ms.
    toMs: chance.pick([0, 10, 40]),
    backMs: chance.pick([0, 30, 80]),
    lateMs: 0,
    writeMs: 0,
    forMs: 100 + chance.below(1_000),
  }),
  /** Longer than others wait for the leases of a lost member. */
  lateWrites: (chance) => ({
    kind: "distance",
    toMs: chance.pick([0, 10]),
    backMs: chance.pick([0, 30]),
    lateMs: 0,
    writeMs: 1_000 + chance.below(4_000),
    forMs: 200 + chance.below(2_000),
  }),
  /** Less than a member waits for the head of an answer. */
  lateAnswers: (chance) => ({
    kind: "distance",
    toMs: chance.pick([0, 10]),
    backMs: 0,
    lateMs: 150 + chance.below(130),
    writeMs: 0,
    forMs: 1_000 + chance.below(2_000),
  }),
  origin: (chance) => ({
    kind: "origin",
    fails: chance.pick(["refuses", "break", "stall"] as const),
    afterBytes: chance.below(1_000),
    forMs: 1 + chance.below(300),
  }),
  disk: (chance) => ({
    kind: "disk",
    member: chance.below(5),
    fails: chance.pick([0, 0, 0.02, 0.2, 1]),
    waits: chance.pick([0, 0.2]),
  }),
  fillDisk: (chance) => ({ kind: "fillDisk", member: chance.below(5), bytes: chance.pick([0, 110, 160]) * 1024 }),
  weather: (chance) => ({
    kind: "weather",
    delayMs: chance.pick([0, 5, 40]),
    breaks: chance.pick([0, 0, 0.02]),
    duplicates: chance.pick([0, 0.2]),
    forMs: chance.below(500),
  }),
  /** Messages only take their time. */
  slowNetwork: (chance) => ({
    kind: "weather",
    delayMs: chance.pick([5, 40, 150]),
    breaks: 0,
    duplicates: chance.pick([0, 0.2]),
    forMs: chance.below(1_500),
  }),
  /** Shorter than what has a member taken for frozen; two messages in turn take longer than a lease lasts. */
  slowLink: (chance) => ({
    kind: "slowLink",
    from: chance.below(5),
    ...(chance.happens(0.3) && { to: chance.below(5) }),
    delayMs: 250 + chance.below(200),
    forMs: 500 + chance.below(2_000),
  }),
  divide: (chance) => ({ kind: "divide", bits: 1 + chance.below(6), forMs: 2_000 + chance.below(6_000) }),
  cut: (chance) => ({
    kind: "cut",
    member: chance.below(5),
    ...(chance.happens(0.5) && { other: chance.below(5) }),
    forMs: chance.below(3_000),
  }),
  crash(chance) {
    const died = {
      member: chance.below(5),
      silently: chance.happens(0.3),
      backAfterMs: chance.below(3_000),
      flips: chance.below(3),
    };
    if (chance.happens(0.4)) return { kind: "crash", ...died };
    return { kind: "crash", ...died, at: { operation: chance.pick(FAILPOINTS), after: chance.below(8) } };
  },
  leave: (chance) => ({ kind: "leave", member: chance.below(5), backAfterMs: chance.below(3_000) }),
  freeze: (chance) => ({
    kind: "freeze",
    member: chance.below(5),
    forMs: chance.pick([100, 400, 800, 3_000]) + chance.below(400),
  }),
  /** About as long as leases last, and as what counts as a standstill. */
  halt: (chance) => ({ kind: "freeze", member: chance.below(5), forMs: 450 + chance.below(300) }),
  /** It dies, and is back before the leases that it granted have expired, or a little later. */
  restart: (chance) => ({
    kind: "crash",
    member: chance.below(5),
    silently: chance.happens(0.3),
    backAfterMs: chance.pick([20, 200, 500, 900]),
    flips: 0,
  }),
  unlist: (chance) => ({ kind: "unlist", member: chance.below(5) }),
  deafen: (chance) => ({ kind: "deafen", member: chance.below(5), forMs: chance.below(3_000) }),
  jump: (chance) => ({ kind: "jump", member: chance.below(5), byMs: chance.below(8_000) - 4_000 }),
  rest: () => ({ kind: "rest" }),
} satisfies Record<string, Make>;

/** How often each kind of step happens, in a hundred steps about. */
type Mix = Partial<Record<keyof typeof makers, number>>;

/** Everything that can happen. */
const all: Mix = {
  read: 42,
  clientRead: 20,
  http: 4,
  stat: 1,
  failing: 1,
  put: 6,
  delete: 0.7,
  evict: 1.5,
  warm: 1,
  abort: 4,
  slowOrigin: 5,
  origin: 3,
  disk: 4,
  fillDisk: 1.5,
  weather: 3,
  cut: 2,
  crash: 2,
  leave: 1,
  freeze: 0.5,
  deafen: 1.5,
  jump: 1,
  rest: 0.5,
};

/** Overwrites and members that come, go and stand still; the network always connects all that run. */
const versions: Mix = {
  read: 10,
  clientRead: 16,
  http: 38,
  stat: 4,
  failing: 0.7,
  put: 7,
  putAgain: 0.7,
  delete: 1,
  evict: 0.5,
  abort: 1,
  distance: 4,
  origin: 0.7,
  slowNetwork: 3,
  crash: 1.2,
  leave: 1,
  freeze: 2.5,
  deafen: 1,
  jump: 0.5,
  rest: 0.2,
};

/** A few objects that are overwritten, deleted and created all the time, and asked for through all members. */
const polled: Mix = {
  read: 4,
  clientRead: 6,
  http: 14,
  stat: 2,
  put: 12,
  putAgain: 1,
  delete: 5,
  poll: 8,
  distance: 3,
  slowNetwork: 1,
  slowLink: 5,
  crash: 0.5,
  restart: 1,
  leave: 1.5,
  freeze: 0.7,
  halt: 3,
  deafen: 1.5,
  jump: 0.5,
  rest: 0.2,
};

/** The same without trouble at the origin, and with members that are cut off from others. */
const partitioned: Mix = { ...versions, origin: 0, cut: 0.7, weather: 0.7 };

/** Objects that are overwritten while their bytes are on their way: answers of the origin arrive after newer ones. */
const overtaken: Mix = { read: 12, clientRead: 6, http: 16, put: 14, poll: 10, lateAnswers: 6 };

/** Members of a network that is divided in two, whose lists differ when they start. */
const divided: Mix = { read: 4, http: 30, stat: 1, put: 12, delete: 2, poll: 8, divide: 2, distance: 2, unlist: 0.3, rest: 0.2 };

/** Objects that are written and deleted through members, while members come, go and stand still. */
const writes: Mix = {
  write: 16,
  lateWrites: 2,
  clientRead: 8,
  http: 26,
  stat: 3,
  poll: 6,
  put: 1,
  distance: 4,
  origin: 0.7,
  slowNetwork: 3,
  slowLink: 2,
  crash: 1.2,
  restart: 0.5,
  leave: 1,
  freeze: 2,
  halt: 1,
  deafen: 1,
  rest: 0.3,
};

/** Writes that the origin takes late, and few members that are lost, so that mostly one is lost at a time. */
const lateTaken: Mix = {
  write: 16,
  lateWrites: 5,
  lostWrite: 1,
  clientRead: 6,
  http: 26,
  stat: 3,
  poll: 10,
  slowNetwork: 1,
  slowLink: 1,
  crash: 0.7,
  restart: 0.3,
  leave: 0.4,
  freeze: 0.4,
  rest: 1,
};

/** Objects that are overwritten and written while clients with near caches read them again and again. */
const near: Mix = {
  clientRead: 40,
  http: 10,
  stat: 6,
  put: 8,
  write: 4,
  delete: 1,
  poll: 3,
  distance: 3,
  slowNetwork: 1,
  slowLink: 2,
  crash: 0.5,
  restart: 0.7,
  leave: 1,
  freeze: 0.7,
  halt: 1,
  deafen: 0.7,
  rest: 0.2,
};

/** What a run is about. */
export type Subject = (typeof subjects)[number];
export const subjects = ["all", "versions", "overtaken", "divided", "writes", "near"] as const;

/** The steps of a seed. Each one stands for itself, so that some of them can be left out. */
export function makeSteps(seed: number, count: number, subject: Subject = "all"): Step[] {
  const chance = new Chance(seed);
  const ofVersions = [partitioned, polled, versions, polled, versions][seed % 5]!;
  const ofWrites = [writes, lateTaken][seed % 2]!;
  const mix = { all, overtaken, divided, writes: ofWrites, near, versions: ofVersions }[subject];
  const total = Object.values(mix).reduce((sum, share) => sum + share, 0);
  return Array.from({ length: count }, () => {
    const action = makerAt(mix, chance.next() * total)(chance);
    return { ...action, seed: chance.below(2 ** 31), thenMs: Math.floor(chance.next() ** 3 * 300) };
  });
}

function makerAt(mix: Mix, dice: number): Make {
  let left = dice;
  for (const [name, share] of Object.entries(mix)) {
    left -= share;
    if (left < 0) return makers[name as keyof typeof makers];
  }
  return makers.read;
}

/** From nothing to five blocks, mostly some. */
function sizeOf(chance: Chance): number {
  const { blockBytes } = geometry;
  return chance.happens(0.1) ? chance.below(blockBytes) : blockBytes + chance.below(4 * blockBytes);
}

/** Mostly the current version or the one before. */
function back(chance: Chance): number {
  return Math.floor(chance.next() ** 5 * 6);
}

function range(chance: Chance): Range {
  const offset = chance.happens(0.3) ? 0 : Math.floor(chance.next() ** 2 * 0.9 * FURTHEST);
  const length = chance.happens(0.15) ? 0 : 1 + Math.floor(chance.next() ** 2 * (FURTHEST - offset));
  const url = chance.pick(URLS);
  return chance.happens(0.5) ? { url, offset, length } : { url, offset, length, back: back(chance) };
}

function leaves(chance: Chance): { leavesAfter: number } {
  return { leavesAfter: chance.happens(0.1) ? chance.below(4) : Number.POSITIVE_INFINITY };
}

function http(chance: Chance): Action {
  const { url, offset, length } = range(chance);
  const form = chance.next();
  const last = length === 0 ? "" : offset + length - 1;
  const ranged = form < 0.6 ? `bytes=${offset}-${last}` : form < 0.75 ? `bytes=-${1 + chance.below(FURTHEST)}` : undefined;
  const dice = chance.next();
  const header = dice < 0.1 ? "if-match" : dice < 0.2 ? "if-none-match" : dice < 0.25 ? "if-range" : undefined;
  return {
    kind: "http",
    member: chance.below(5),
    url,
    method: chance.happens(0.2) ? "HEAD" : "GET",
    ...(ranged !== undefined && { range: ranged }),
    ...(header !== undefined && { condition: { header, back: back(chance) } }),
    slowness: chance.pick([0, 0, 0.2]),
    ...leaves(chance),
  };
}
