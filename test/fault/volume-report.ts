import type { MemberProcess } from "../e2e/member-process.js";

/** What a member says of its volume at every tick of its purger, with `--log-level debug`. */
export interface VolumeReport {
  readonly state: string;
  readonly blocks: number;
  readonly usedBytes: number;
  readonly reservedBytes: number;
  readonly limitBytes: number;
}

/** All reports of a member so far. */
export function volumeReports(member: MemberProcess): VolumeReport[] {
  return member.log.filter((entry) => entry.event === "volume") as unknown as VolumeReport[];
}

/** Waits for so many ticks of the purger to end; resolves to the last one's report. */
export async function ticks(member: MemberProcess, count: number): Promise<VolumeReport> {
  const from = volumeReports(member).length;
  while (volumeReports(member).length < from + count) {
    if (!member.runs) throw new Error(`the member has ended: ${member.stderr}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return volumeReports(member).at(-1)!;
}
