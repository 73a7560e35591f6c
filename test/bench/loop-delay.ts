import { join } from "node:path";
import type { MemberProcess } from "../e2e/member-process.js";

/** The environment of a member that tells its event loop's delay. */
export const withLoopDelay = { NODE_OPTIONS: `--import ${join(import.meta.dirname, "loop-delay.mjs")}` };

/** Milliseconds by which timers of 1 ms were late, since the last call. */
export interface LoopDelay {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** Asks a member that was started `withLoopDelay`. */
export async function loopDelay(member: MemberProcess): Promise<LoopDelay> {
  const before = member.stderr.length;
  process.kill(member.pid, "SIGUSR2");
  for (;;) {
    const line = /^\{"loopDelay".*\}$/m.exec(member.stderr.slice(before));
    if (line !== null) return (JSON.parse(line[0]) as { loopDelay: LoopDelay }).loopDelay;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
