import type { ErrorCode } from "@frontcache/proto";
import type { HotObject, HottestObjects } from "./hottest-objects.js";
import { originOutcomes, readResults } from "./metric-list.js";
import type { Metrics } from "./metrics.js";
import type { RecentError, RecentErrors } from "./recent-errors.js";

type Result = (typeof readResults)[number];
type Outcome = (typeof originOutcomes)[number];

/** The counters of a member since its start. Bytes and milliseconds; shares are 0 to 1. */
export interface MetricsSnapshot {
  /** Wall time of this snapshot, and of the start of counting. */
  readonly atMs: number;
  readonly startedAtMs: number;
  readonly reads: Readonly<Record<Result, { readonly count: number; readonly bytes: number }>>;
  readonly readErrors: Readonly<Partial<Record<ErrorCode, number>>>;
  /** Bytes sent to clients. */
  readonly servedBytes: number;
  /** Bytes sent to clients without an origin request. */
  readonly savedBytes: number;
  /** Share of this member's own reads that did not wait for a fill; undefined before the first read. */
  readonly hitRatio: number | undefined;
  /** Time to first byte of hits, since the start; undefined before the first hit. */
  readonly hitFirstByteMs: { readonly p50: number; readonly p99: number } | undefined;
  readonly origin: {
    readonly requests: Readonly<Record<Outcome, number>>;
    readonly bytes: number;
    readonly retries: number;
  };
  readonly fills: { readonly running: number; readonly waitingParts: number; readonly memoryBytes: number };
  readonly connections: { readonly grpc: number; readonly http: number; readonly s3: number };
  readonly ring: { readonly members: number; readonly changes: number };
  readonly corruptions: number;
  readonly evictions: number;
  /** Figures of the last 10 s. */
  readonly eventLoopDelayMs: { readonly p50: number; readonly p99: number; readonly max: number };
  /** Sorted by reads, the most read first. */
  readonly hottest: readonly HotObject[];
  /** Sorted by time, the newest first. */
  readonly recentErrors: readonly RecentError[];
}

/** Number of objects in a snapshot. */
const TOP = 20;

export function snapshotOf(metrics: Metrics, hottest: HottestObjects, errors: RecentErrors, nowMs: number): MetricsSnapshot {
  const families = metrics.read();
  const reads = recordOf(readResults, (result) => ({
    count: families.reads.at({ result }).value,
    bytes: families.readIo.at({ result }).value,
  }));
  const cached = reads.hit.count + reads.stale.count;
  const local = cached + reads.joined.count + reads.filled.count;
  const hitFirstByte = families.readFirstByte.at({ result: "hit" });
  const ms = (seconds: number | undefined): number => (seconds ?? 0) * 1000;
  return {
    atMs: nowMs,
    startedAtMs: metrics.startedAtMs,
    reads,
    readErrors: readErrorsOf(metrics),
    servedBytes: readResults.reduce((sum, result) => sum + reads[result].bytes, 0),
    savedBytes: families.saved.at().value,
    hitRatio: local === 0 ? undefined : cached / local,
    hitFirstByteMs:
      hitFirstByte.count === 0 ? undefined : { p50: ms(hitFirstByte.quantile(0.5)), p99: ms(hitFirstByte.quantile(0.99)) },
    origin: {
      requests: recordOf(originOutcomes, (outcome) =>
        families.originRequests.all.reduce((sum, { labels, value }) => sum + (labels.outcome === outcome ? value : 0), 0),
      ),
      bytes: families.originIo.at().value,
      retries: families.originRetries.at().value,
    },
    fills: {
      running: families.fillsRunning.at().value,
      waitingParts: families.fillsWaiting.at().value,
      memoryBytes: families.fillMemory.at().value,
    },
    connections: {
      grpc: families.connections.at({ listener: "grpc" }).value,
      http: families.connections.at({ listener: "http" }).value,
      s3: families.connections.at({ listener: "s3" }).value,
    },
    ring: { members: families.ringMembers.at().value, changes: families.ringChanges.at().value },
    corruptions: families.corruptions.at().value,
    evictions: families.evictions.at().value,
    eventLoopDelayMs: {
      p50: ms(families.loopDelayP50.at().value),
      p99: ms(families.loopDelayP99.at().value),
      max: ms(families.loopDelayMax.at().value),
    },
    hottest: hottest.top(TOP),
    recentErrors: errors.list(),
  };
}

function readErrorsOf({ families }: Metrics): Partial<Record<ErrorCode, number>> {
  const failed = families.readErrors.all.filter(({ value }) => value > 0);
  return Object.fromEntries(failed.map(({ labels, value }) => [labels["error.type"], value]));
}

function recordOf<Key extends string, Value>(keys: readonly Key[], of: (key: Key) => Value): Record<Key, Value> {
  return Object.fromEntries(keys.map((key) => [key, of(key)])) as Record<Key, Value>;
}
