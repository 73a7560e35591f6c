import type { MemberInfo } from "@frontcache/proto";
import type { ManualClock } from "@frontcache/server/testing";
import type { Chance } from "../seeded-random.js";
import type { MemberProcess } from "./simulated-member.js";
import { TroubledDisk } from "./troubled-disk.js";

/** A member's place in the cluster: its name and its disk outlive its processes. */
export interface Place {
  readonly name: string;
  readonly disk: TroubledDisk;
  /** As others know it. */
  self: MemberInfo;
  process: MemberProcess | undefined;
  /** Whether it answers users' reads. */
  serves: boolean;
  /** Whether a process of it is starting, or will be. */
  returns: boolean;
  wallOffsetMs: number;
  /** How far its wall was set back, and until when that matters to what its files say. */
  setBacks: { readonly byMs: number; readonly untilMs: number; restarted: boolean }[];
  /** It hears of no new list until then. */
  deafUntilMs: number;
  /** The lists of others do not have it. */
  isUnlisted: boolean;
  lives: number;
}

/** A place where nothing has run yet. */
export function newPlace(name: string, chance: Chance, time: ManualClock): Place {
  return {
    name,
    disk: new TroubledDisk(160 * 1024, chance, () => time.nowMs()),
    self: { name, grpcAddress: `${name}.0:8080` },
    process: undefined,
    serves: false,
    returns: false,
    wallOffsetMs: 0,
    setBacks: [],
    deafUntilMs: 0,
    isUnlisted: false,
    lives: 0,
  };
}
