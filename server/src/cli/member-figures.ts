import { type MetricDeclaration, prometheusName } from "../metrics/declaration.js";
import { metricList } from "../metrics/metric-list.js";

/** What a member's `/metrics` says of it, as far as `frontcache status` shows it. */
export interface MemberFigures {
  readonly usedBytes: number;
  readonly limitBytes: number;
  readonly blocks: number;
  readonly fills: number;
  /** Reads that this member answered itself, by where their bytes came from. */
  readonly reads: { readonly hit: number; readonly joined: number; readonly filled: number; readonly stale: number };
  readonly uptimeSeconds: number;
}

/** Reads Prometheus's text. What it does not name is 0. */
export function parseMemberFigures(text: string): MemberFigures {
  const sum = (metric: MetricDeclaration, label = ""): number => {
    const name = prometheusName(metric);
    let total = 0;
    for (const line of text.split("\n")) {
      const [, labels = "", value] = line.startsWith(name) ? (/^\w+(\{.*\})? (\S+)/.exec(line) ?? []) : [];
      const ends = line.charAt(name.length);
      if (value !== undefined && (ends === "{" || ends === " ") && labels.includes(label)) total += Number(value);
    }
    return total;
  };
  const reads = (result: string): number => sum(metricList.reads, `result="${result}"`);
  return {
    usedBytes: sum(metricList.volumeUsage),
    limitBytes: sum(metricList.volumeLimit),
    blocks: sum(metricList.volumeBlocks),
    fills: sum(metricList.fillsRunning),
    reads: { hit: reads("hit"), joined: reads("joined"), filled: reads("filled"), stale: reads("stale") },
    uptimeSeconds: sum(metricList.uptime),
  };
}

/** Of the reads that a member answered itself, the share that was held; undefined where there were none. */
export function hitRatio({ reads: { hit, joined, filled, stale } }: MemberFigures): number | undefined {
  const all = hit + joined + filled + stale;
  return all === 0 ? undefined : (hit + stale) / all;
}
