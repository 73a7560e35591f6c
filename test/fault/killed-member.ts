import { join } from "node:path";
import type { MemberOptions } from "../e2e/member-process.js";

/** Steps of a member's work on its cache directory. */
export const STEPS = ["create", "update", "write segments", "write footer", "rename", "close", "remove", "refresh time"] as const;

/** Where a member dies. */
export interface Failpoint {
  readonly step: (typeof STEPS)[number];
  /** At its `nth` such step, from 1, counted from `armed` on. */
  readonly nth: number;
  /** Before the step, when half of a write is done, or after the step and before the member knows. */
  readonly how: "before" | "half" | "after";
  /** From the start, recovery included, or from the signal that `arm` sends. */
  readonly armed: "at start" | "by signal";
}

/** A failpoint by chance. */
export function chooseFailpoint(random: () => number): Failpoint {
  const pick = <T>(choices: readonly T[]): T => choices[Math.floor(random() * choices.length)]!;
  const step = pick(STEPS);
  const how = pick(step.startsWith("write") ? (["before", "half", "after"] as const) : (["before", "after"] as const));
  return { step, nth: 1 + Math.floor(random() * 20), how, armed: random() < 0.25 ? "at start" : "by signal" };
}

/** The environment of a member that dies there. */
export function withFailpoint(failpoint: Failpoint, directory: string): NonNullable<MemberOptions["env"]> {
  return {
    NODE_OPTIONS: `--import ${join(import.meta.dirname, "failpoints.mjs")}`,
    FAILPOINT: JSON.stringify({ ...failpoint, directory }),
  };
}

/** Lets a failpoint that is armed by signal count from now on. */
export function arm(pid: number): void {
  process.kill(pid, "SIGUSR2");
}
