import { until } from "@frontcache/proto/testing";
import type { TestMember } from "../e2e/member-process.js";

/** A member's log line about its volume at each run of its purger (`--log-level debug`). */
export interface VolumeReport {
  readonly state: string;
  readonly blocks: number;
  readonly usedBytes: number;
  readonly reservedBytes: number;
  readonly limitBytes: number;
}

/** The purger runs every few seconds. */
const TICKS_LIMIT_MS = 60_000;

/** Returns all reports of a member so far. */
export function volumeReports(member: TestMember): VolumeReport[] {
  return member.log.filter((entry) => entry.event === "volume") as unknown as VolumeReport[];
}

/** Waits for a number of runs of the purger; resolves with the last report. */
export async function ticks(member: TestMember, count: number): Promise<VolumeReport> {
  const from = volumeReports(member).length;
  await until(() => {
    if (!member.runs) throw new Error(`the member has ended after ${JSON.stringify(member.log.at(-1))}`);
    return volumeReports(member).length >= from + count;
  }, TICKS_LIMIT_MS);
  return volumeReports(member).at(-1)!;
}
