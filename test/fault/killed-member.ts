import { join } from "node:path";
import type { MemberOptions } from "../e2e/member-process.js";

/** Steps of a member's work on its cache directory. */
export const STEPS = ["create", "update", "write segments", "write footer", "close", "remove", "refresh time"] as const;

/** The place where a member dies. */
export interface Failpoint {
  readonly step: (typeof STEPS)[number];
  /** The number of the step, from 1, counted since `armed`. */
  readonly nth: number;
  /** Before the step, after half of a write, or after the step but before its callback. */
  readonly how: "before" | "half" | "after";
  /** Counts from the start, including recovery, or from the signal that `arm` sends. */
  readonly armed: "at start" | "by signal";
}

/** Returns a random failpoint. */
export function chooseFailpoint(random: () => number): Failpoint {
  const pick = <T>(choices: readonly T[]): T => choices[Math.floor(random() * choices.length)]!;
  const step = pick(STEPS);
  const how = pick(step.startsWith("write") ? (["before", "half", "after"] as const) : (["before", "after"] as const));
  return { step, nth: 1 + Math.floor(random() * 20), how, armed: random() < 0.25 ? "at start" : "by signal" };
}

/** Returns the environment of a member that dies at a failpoint. */
export function withFailpoint(failpoint: Failpoint, directory: string): NonNullable<MemberOptions["env"]> {
  return {
    NODE_OPTIONS: `--import ${join(import.meta.dirname, "failpoints.mjs")}`,
    FAILPOINT: JSON.stringify({ ...failpoint, directory }),
  };
}

/** Starts the counting of a failpoint that is armed by signal. */
export function arm(pid: number): void {
  process.kill(pid, "SIGUSR2");
}
