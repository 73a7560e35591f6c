import { join } from "node:path";
import type { MemberProcess } from "../e2e/member-process.js";

/** The environment of a member that reports the delay of its event loop. */
export const withLoopDelay = { NODE_OPTIONS: `--import ${join(import.meta.dirname, "loop-delay.mjs")}` };

/** Delay of timers of 1 ms since the last call, milliseconds. */
export interface LoopDelay {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** The delay of a member that was started with the environment `withLoopDelay`. */
export async function loopDelay(member: MemberProcess): Promise<LoopDelay> {
  const before = member.stderr.length;
  process.kill(member.pid, "SIGUSR2");
  for (;;) {
    const line = /^\{"loopDelay".*\}$/m.exec(member.stderr.slice(before));
    if (line !== null) return (JSON.parse(line[0]) as { loopDelay: LoopDelay }).loopDelay;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
