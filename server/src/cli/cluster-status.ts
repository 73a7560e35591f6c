import { DEFAULT_GEOMETRY, type MemberInfo, Membership } from "@frontcache/proto";
import { forEachConcurrent, LinkedAbort } from "@frontcache/proto/runtime";
import { formatBytes, formatDuration, formatShare } from "./amounts.js";
import { hitRatio, type MemberFigures, parseMemberFigures } from "./member-figures.js";
import { askMember, type QuestionAccess } from "./member-question.js";
import { formatTable } from "./table.js";

/** One member as it is now. */
export interface MemberStatus extends MemberInfo {
  /** `ready`, `not ready: ` and why, `out of reach`, or `unknown` where it has no gateway to ask. */
  readonly state: string;
  /** Of all blocks, how many it owns, 0 to 1. */
  readonly ringShare: number;
  /** Absent: it does not say. */
  readonly metrics?: MemberFigures;
}

/** Members asked at a time, by two questions each. */
const PARALLELISM = 16;

/** Asks every member's gateway how it is; who does not answer is said to be out of reach. */
export async function clusterStatus(
  members: readonly MemberInfo[],
  access: QuestionAccess,
  signal: AbortSignal,
): Promise<MemberStatus[]> {
  const shares = Membership.of(members, DEFAULT_GEOMETRY.blockBytes).ringShares();
  const found: MemberStatus[] = [];
  // The questions make signals of theirs, of which each would leave something at one that lives as long as a watch.
  const asking = new LinkedAbort(signal);
  await forEachConcurrent(members.entries(), PARALLELISM, async ([at, member]) => {
    const asked = [stateOf(member, access, asking.signal), metricsOf(member, access, asking.signal)] as const;
    const [state, metrics] = await Promise.all(asked);
    found[at] = { ...member, state, ringShare: shares.get(member.name)!, ...(metrics === undefined ? {} : { metrics }) };
  }).finally(() => asking.unlink());
  signal.throwIfAborted();
  return found;
}

async function stateOf({ httpAddress }: MemberInfo, access: QuestionAccess, signal: AbortSignal): Promise<string> {
  if (httpAddress === undefined) return "unknown";
  const answer = await askMember(httpAddress, "/readyz", access, signal);
  if (answer === undefined) return "out of reach";
  return answer.ok ? "ready" : `not ready: ${answer.text.trim().replaceAll("\n", ", ")}`;
}

async function metricsOf(
  { httpAddress }: MemberInfo,
  access: QuestionAccess,
  signal: AbortSignal,
): Promise<MemberFigures | undefined> {
  const answer = httpAddress === undefined ? undefined : await askMember(httpAddress, "/metrics", access, signal);
  return answer?.ok ? parseMemberFigures(answer.text) : undefined;
}

const HEADINGS = ["member", "address", "state", "ring", "blocks", "used", "of", "hits", "fills", "up"];

/** A table of the members, and a line of what they are together. */
export function formatStatus(members: readonly MemberStatus[]): string {
  const rows = members.map(({ name, grpcAddress, state, ringShare, metrics }) => {
    const ratio = metrics && hitRatio(metrics);
    const known = metrics && [
      String(metrics.blocks),
      formatBytes(metrics.usedBytes),
      formatBytes(metrics.limitBytes),
      ratio === undefined ? "-" : formatShare(ratio),
      String(metrics.fills),
      formatDuration(metrics.uptimeSeconds * 1000),
    ];
    return [name, grpcAddress, state, formatShare(ringShare), ...(known ?? ["-", "-", "-", "-", "-", "-"])];
  });
  const ready = members.filter(({ state }) => state === "ready").length;
  return `${formatTable(HEADINGS, rows)}\n${ready} of ${members.length} ready, ${heldText(members)}`;
}

function heldText(members: readonly MemberStatus[]): string {
  const told = members.flatMap(({ metrics }) => metrics ?? []);
  const sum = (of: (metrics: MemberFigures) => number): number => told.reduce((total, metrics) => total + of(metrics), 0);
  return `${formatBytes(sum(({ usedBytes }) => usedBytes))} of ${formatBytes(sum(({ limitBytes }) => limitBytes))} used`;
}

/** The same for programs. */
export function statusForPrograms(members: readonly MemberStatus[]) {
  return {
    members: members.map(({ metrics, ...member }) => ({ ...member, ...metrics, hitRatio: metrics && hitRatio(metrics) })),
  };
}
