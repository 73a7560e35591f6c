import type { MemberInfo } from "@frontcache/client";
import { CacheError } from "@frontcache/proto";
import type { ClusterReport, ListedMember, MemberReport } from "../api/admin/member-report.js";
import { getFromMember, type MemberAccess } from "../api/admin/member-request.js";
import { formatBytes, formatDuration, formatShare } from "./amounts.js";
import { formatTable } from "./table.js";

/** A report takes up to 3 s if members are unreachable. */
const TIMEOUT_MS = 5_000;

/** Far more than the reports of some hundred members. */
const MAX_BYTES = 64 << 20;

/** A member list that was not confirmed for longer is worth a note. Watches are renewed every half minute. */
const OLD_LIST_MS = 60_000;

/** Requests `/status` from the first member that answers. Rejects with the cause of the last failure. */
export async function clusterStatus(
  members: readonly MemberInfo[],
  access: MemberAccess,
  signal: AbortSignal,
): Promise<ClusterReport> {
  let failure = new CacheError("UNAVAILABLE", "the members do not publish their HTTP listeners: use an endpoint of this version");
  for (const { httpAddress: address } of members) {
    if (address === undefined) continue;
    try {
      return reportIn(
        await getFromMember({ address, path: "/status", access, timeoutMs: TIMEOUT_MS, maxBytes: MAX_BYTES, signal }),
      );
    } catch (error) {
      signal.throwIfAborted();
      const code = error instanceof CacheError ? error.code : "UNAVAILABLE";
      failure = new CacheError(code, `cannot get the status from ${address}: ${(error as Error).message}`, { cause: error });
    }
  }
  throw failure;
}

function reportIn({ status, text }: { readonly status: number; readonly text: string }): ClusterReport {
  if (status === 401) throw new CacheError("UNAUTHENTICATED", "missing or unknown token or certificate");
  if (status !== 200) throw new CacheError("UNAVAILABLE", `HTTP status ${status}`);
  return JSON.parse(text) as ClusterReport;
}

const HEADINGS = ["member", "address", "state", "ring", "blocks", "used", "of", "hits", "fills", "up"];

/** What a narrow terminal does not show, the least important first. `--json` contains all of it. */
const OPTIONAL = ["address", "fills", "blocks", "up"];

/** A table of the members that fits the width, their totals, a line for each bucket of values and for each problem. */
export function formatStatus({ members }: ClusterReport, width: number): string {
  const rows = members.map(({ name, grpcAddress, state, ringShare, report }) => [
    name,
    grpcAddress,
    state,
    formatShare(ringShare),
    ...(report === undefined ? ["-", "-", "-", "-", "-", "-"] : figuresOf(report)),
  ]);
  const reports = members.flatMap(({ report }) => report ?? []);
  const ready = members.filter(({ state }) => state === "ready").length;
  const used = `${formatBytes(sum(reports, "usedBytes"))} of ${formatBytes(sum(reports, "limitBytes"))} used`;
  const totals = `${ready} of ${members.length} ready, ${used}`;
  return [
    formatTable(HEADINGS, rows, { width, optional: OPTIONAL }),
    totals,
    ...bucketsOf(reports),
    ...members.flatMap(problemsOf),
  ].join("\n");
}

/** A line per bucket of values: what it uses of all members' volumes. */
function bucketsOf(reports: readonly MemberReport[]): string[] {
  const all = reports.flatMap(({ buckets = [] }) => buckets);
  return [...new Set(all.map(({ url }) => url))].map((url) => {
    const buckets = all.filter((bucket) => bucket.url === url);
    const used = formatBytes(buckets.reduce((sum, { usedBytes }) => sum + usedBytes, 0));
    const limits = buckets.flatMap(({ limitBytes }) => limitBytes ?? []);
    const share = limits.length === 0 ? "" : ` of ${formatBytes(limits.reduce((sum, limit) => sum + limit, 0))}`;
    return `${url}: ${used}${share} used${buckets.some(({ isPinned }) => isPinned) ? ", pinned" : ""}`;
  });
}

function figuresOf(report: MemberReport): string[] {
  return [
    String(sum([report], "blocks")),
    formatBytes(sum([report], "usedBytes")),
    formatBytes(sum([report], "limitBytes")),
    report.hitRatio === undefined ? "-" : formatShare(report.hitRatio),
    String(report.fills.running),
    formatDuration(report.atMs - report.startedAtMs),
  ];
}

function sum(reports: readonly MemberReport[], figure: "blocks" | "usedBytes" | "limitBytes"): number {
  return reports.flatMap(({ volumes }) => volumes).reduce((total, volume) => total + volume[figure], 0);
}

function problemsOf({ name, report, problem }: ListedMember): string[] {
  const { notReady = [], volumes = [], membershipAgeMs = 0 } = report ?? {};
  const list = `its member list was last confirmed ${formatDuration(membershipAgeMs)} ago`;
  return [
    ...(problem === undefined ? [] : [problem]),
    ...notReady,
    ...volumes.flatMap(({ path, state }) => (state === "ok" ? [] : `volume ${path} is ${state}, nothing is cached on it`)),
    ...(membershipAgeMs > OLD_LIST_MS ? [list] : []),
  ].map((text) => `${name}: ${text}`);
}
