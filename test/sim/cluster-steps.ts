import type { DiskOperation } from "@frontcache/server/testing";
import { Chance } from "../seeded-random.js";
import { FURTHEST, type Wanted } from "./cluster-readers.js";
import type { Weather } from "./simulated-network.js";
import { geometry, URLS } from "./simulated-parts.js";

/** A range to read; `back`: of the version so many before the current one, absent: of no named version. */
interface Range {
  readonly url: string;
  readonly offset: number;
  readonly length: number;
  readonly back?: number;
}

/** One thing that happens. Members are named by an index into those that serve just then. */
export type Action =
  | ({
      readonly kind: "read";
      readonly member: number;
      readonly readers: number;
      readonly cachedOnly: boolean;
      readonly slowness: number;
      /** Pieces; Infinity: it stays to the end. */
      readonly leavesAfter: number;
    } & Range)
  | ({ readonly kind: "clientRead"; readonly client: number; readonly streamed: boolean } & Range)
  | { readonly kind: "put"; readonly url: string; readonly size: number }
  | { readonly kind: "delete"; readonly url: string }
  | { readonly kind: "evict"; readonly url: string; readonly member: number }
  | { readonly kind: "warm"; readonly url: string; readonly client: number }
  | { readonly kind: "abort" }
  | { readonly kind: "slowOrigin"; readonly latencyMs: number; readonly chunkDelayMs: number; readonly forMs: number }
  | {
      readonly kind: "origin";
      readonly fails: "refuses" | "break" | "stall";
      readonly afterBytes: number;
      readonly forMs: number;
    }
  | { readonly kind: "disk"; readonly member: number; readonly fails: number; readonly waits: number }
  | { readonly kind: "fillDisk"; readonly member: number; readonly bytes: number }
  | ({ readonly kind: "weather"; readonly forMs: number } & Weather)
  | { readonly kind: "cut"; readonly member: number; readonly other?: number; readonly forMs: number }
  | {
      readonly kind: "crash";
      readonly member: number;
      readonly silently: boolean;
      readonly backAfterMs: number;
      readonly flips: number;
      readonly at?: { readonly operation: DiskOperation; readonly after: number };
    }
  | { readonly kind: "leave"; readonly member: number; readonly backAfterMs: number }
  | { readonly kind: "deafen"; readonly member: number; readonly forMs: number }
  | { readonly kind: "jump"; readonly member: number; readonly byMs: number }
  | { readonly kind: "rest" };

/** An action with the chance that everything after it has, and the time that passes then. */
export type Step = Action & { readonly seed: number; readonly thenMs: number };

const FAILPOINTS: readonly DiskOperation[] = ["open", "write", "write", "rename", "remove", "deallocate", "read"];

type Make = (chance: Chance) => Action;

/** What happens, and how often in a hundred steps. */
const makers: readonly (readonly [number, Make])[] = [
  [42, read],
  [20, (chance) => ({ kind: "clientRead", client: chance.below(2), streamed: chance.happens(0.5), ...range(chance) })],
  [6, (chance) => ({ kind: "put", url: chance.pick(URLS), size: sizeOf(chance) })],
  [0.7, (chance) => ({ kind: "delete", url: chance.pick(URLS) })],
  [1.5, (chance) => ({ kind: "evict", url: chance.pick(URLS), member: chance.below(5) })],
  [1, (chance) => ({ kind: "warm", url: chance.pick(URLS), client: chance.below(2) })],
  [4, () => ({ kind: "abort" })],
  [5, (chance) => ({ kind: "slowOrigin", latencyMs: chance.below(50), chunkDelayMs: chance.below(5), forMs: chance.below(400) })],
  [
    3,
    (chance) => ({
      kind: "origin",
      fails: chance.pick(["refuses", "break", "stall"] as const),
      afterBytes: chance.below(1_000),
      forMs: 1 + chance.below(300),
    }),
  ],
  [
    4,
    (chance) => ({
      kind: "disk",
      member: chance.below(5),
      fails: chance.pick([0, 0, 0.02, 0.2, 1]),
      waits: chance.pick([0, 0.2]),
    }),
  ],
  [1.5, (chance) => ({ kind: "fillDisk", member: chance.below(5), bytes: chance.pick([0, 110, 160]) * 1024 })],
  [3, weather],
  [
    2,
    (chance) => ({
      kind: "cut",
      member: chance.below(5),
      ...(chance.happens(0.5) && { other: chance.below(5) }),
      forMs: chance.below(3_000),
    }),
  ],
  [2, crash],
  [1, (chance) => ({ kind: "leave", member: chance.below(5), backAfterMs: chance.below(3_000) })],
  [1.5, (chance) => ({ kind: "deafen", member: chance.below(5), forMs: chance.below(3_000) })],
  [1, (chance) => ({ kind: "jump", member: chance.below(5), byMs: chance.below(8_000) - 4_000 })],
  [0.5, () => ({ kind: "rest" })],
];

const total = makers.reduce((sum, [share]) => sum + share, 0);

/** The steps of a seed. Each one stands for itself, so that some of them can be left out. */
export function makeSteps(seed: number, count: number): Step[] {
  const chance = new Chance(seed);
  return Array.from({ length: count }, () => {
    const action = makerAt(chance.next() * total)(chance);
    return { ...action, seed: chance.below(2 ** 31), thenMs: Math.floor(chance.next() ** 3 * 300) };
  });
}

function makerAt(dice: number): Make {
  let left = dice;
  for (const [share, make] of makers) {
    left -= share;
    if (left < 0) return make;
  }
  return read;
}

/** One line that says what a step does. */
export function describeStep({ kind, seed, thenMs, ...rest }: Step): string {
  const fields = Object.entries(rest).map(
    ([name, value]) => `${name} ${typeof value === "object" ? JSON.stringify(value) : value}`,
  );
  return `${kind} ${fields.join(", ")}; then ${thenMs} ms pass (chance ${seed})`;
}

/** What a range comes to when it is read, given the versions of its object, the current one last. */
export function wantedOf({ url, offset, length, back }: Range, versions: readonly { version: string }[]): Wanted {
  const version = back === undefined ? undefined : versions[Math.max(0, versions.length - 1 - back)]?.version;
  return { url, version, offset, length };
}

/** From nothing to five blocks, mostly some. */
function sizeOf(chance: Chance): number {
  const { blockBytes } = geometry;
  return chance.happens(0.1) ? chance.below(blockBytes) : blockBytes + chance.below(4 * blockBytes);
}

function range(chance: Chance): Range {
  const offset = chance.happens(0.3) ? 0 : Math.floor(chance.next() ** 2 * 0.9 * FURTHEST);
  const length = chance.happens(0.15) ? 0 : 1 + Math.floor(chance.next() ** 2 * (FURTHEST - offset));
  const url = chance.pick(URLS);
  return chance.happens(0.5) ? { url, offset, length } : { url, offset, length, back: Math.floor(chance.next() ** 5 * 6) };
}

function read(chance: Chance): Action {
  const leavesAfter = chance.happens(0.1) ? chance.below(4) : Number.POSITIVE_INFINITY;
  const [readers, slowness] = [chance.happens(0.2) ? 4 : 1, chance.pick([0, 0.1, 0.3])];
  const cachedOnly = chance.happens(0.05);
  return { kind: "read", member: chance.below(5), readers, cachedOnly, slowness, leavesAfter, ...range(chance) };
}

function weather(chance: Chance): Action {
  const delayMs = chance.pick([0, 5, 40]);
  return {
    kind: "weather",
    delayMs,
    breaks: chance.pick([0, 0, 0.02]),
    duplicates: chance.pick([0, 0.2]),
    forMs: chance.below(500),
  };
}

function crash(chance: Chance): Action {
  const died = {
    member: chance.below(5),
    silently: chance.happens(0.3),
    backAfterMs: chance.below(3_000),
    flips: chance.below(3),
  };
  if (chance.happens(0.4)) return { kind: "crash", ...died };
  return { kind: "crash", ...died, at: { operation: chance.pick(FAILPOINTS), after: chance.below(8) } };
}
