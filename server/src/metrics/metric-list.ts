import { type ErrorCode, errorTable } from "@frontcache/proto";
import type { HistogramDeclaration, Labels, NumberDeclaration, NumberKind } from "./declaration.js";

/** Where the bytes of a read came from; see ReadResult. */
export const readResults = ["hit", "joined", "filled", "forwarded", "stale"] as const;
/** How a request to an object store ended; `cut`: by us, because nobody needed the rest. */
export const originOutcomes = [
  "ok",
  "not_found",
  "precondition",
  "refused",
  "throttled",
  "unavailable",
  "invalid",
  "cut",
] as const;
/** What was asked of an object store: bytes, what is known of an object, a page of a listing, or whether a bucket is there. */
export const originOperations = ["fetch", "stat", "list", "bucket"] as const;
export const volumeStates = ["ok", "full", "failing"] as const;

/** Seconds. Hot reads take 50 us, forwarded ones some hundred, the origin 10 ms to seconds. */
const LATENCY = [0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
/** Seconds. Stores answer within milliseconds at best. */
const ORIGIN_LATENCY = LATENCY.filter((seconds) => seconds >= 0.005);
/** Seconds: from a minute to a month. */
const AGES = [60, 300, 900, 3_600, 4 * 3_600, 12 * 3_600, 86_400, 3 * 86_400, 7 * 86_400, 30 * 86_400];
/** Seconds. A purge waits for disks. */
const PURGES = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60];

const errorCodes = Object.keys(errorTable) as ErrorCode[];

const result = { result: readResults };
const request = { operation: originOperations, outcome: originOutcomes };
const volume = { volume: "configured" } as const;

/**
 * Every metric of a member. No label has other values than those listed here, or than the settings name: how many series
 * there are does not depend on what is read. Names, units and descriptions follow OpenTelemetry's conventions.
 */
export const metricList = {
  reads: counter("frontcache.reads", "{read}", "Reads answered, by where their bytes came from.", result),
  readErrors: counter("frontcache.read.errors", "{read}", "Reads that failed, by error code.", { "error.type": errorCodes }),
  readDuration: histogram("frontcache.read.duration", "s", "From a read's arrival to its last byte's leaving.", LATENCY, result),
  readFirstByte: histogram(
    "frontcache.read.time_to_first_byte",
    "s",
    "From a read's arrival to its first bytes being at hand.",
    LATENCY,
    result,
  ),
  readIo: counter("frontcache.read.io", "By", "Bytes sent to readers, by where they came from.", result),
  saved: counter(
    "frontcache.read.saved",
    "By",
    "Bytes sent to readers that no origin was asked for: held, or on their way for others.",
  ),

  originRequests: counter(
    "frontcache.origin.requests",
    "{request}",
    "Requests sent to object stores, repeated and hedged ones included.",
    request,
  ),
  originDuration: histogram(
    "frontcache.origin.request.duration",
    "s",
    "From a request to an object store to its answer's end.",
    ORIGIN_LATENCY,
    request,
  ),
  originFirstByte: histogram(
    "frontcache.origin.time_to_first_byte",
    "s",
    "From a request to an object store to its answer's head.",
    ORIGIN_LATENCY,
    {
      operation: originOperations,
    },
  ),
  originIo: counter("frontcache.origin.io", "By", "Bytes received from object stores."),
  originRetries: counter(
    "frontcache.origin.retries",
    "{request}",
    "Requests to object stores repeated after a failure that may pass.",
  ),
  originHedges: counter(
    "frontcache.origin.hedges",
    "{request}",
    "Second requests sent because the first was late; won: theirs was the answer used.",
    {
      result: ["won", "lost"],
    },
  ),
  limitsReached: counter(
    "frontcache.limits.reached",
    "{request}",
    "Requests and connections turned away because a limit was reached.",
    {
      limit: ["origin_wait", "origin_queue", "connections", "reads", "slow_readers"],
    },
  ),

  fillsRunning: upDown("frontcache.fills", "{fill}", "Fills that run."),
  fillsWaiting: upDown("frontcache.fill.parts.waiting", "{part}", "Parts of fills that wait for memory."),
  fillMemory: upDown("frontcache.fill.memory.usage", "By", "Memory that running fills hold."),
  fillMemoryLimit: upDown("frontcache.fill.memory.limit", "By", "Memory that running fills may hold."),
  handovers: counter("frontcache.fill.handovers", "{part}", "Parts that another member had and no origin was asked for."),

  evictions: counter("frontcache.evictions", "{block}", "Blocks that the purger evicted."),
  evicted: counter("frontcache.eviction.io", "By", "Bytes that the purger evicted."),
  evictionAge: histogram("frontcache.eviction.age", "s", "How long ago an evicted block came.", AGES),
  evictionIdle: histogram("frontcache.eviction.idle", "s", "How long ago an evicted block was last used.", AGES),
  purgeDuration: histogram("frontcache.purge.duration", "s", "How long a run of the purger over one volume took.", PURGES),
  volumeUsage: upDown("frontcache.volume.usage", "By", "Bytes that held blocks take of a volume.", volume),
  volumeReserved: upDown("frontcache.volume.reserved", "By", "Bytes of a volume set aside for fills that run.", volume),
  volumeLimit: upDown("frontcache.volume.limit", "By", "A volume's budget, or what its file system has in all.", volume),
  volumeBlocks: upDown("frontcache.volume.blocks", "{block}", "Blocks held on a volume.", volume),
  volumeState: gauge("frontcache.volume.state", "{state}", "1 for the state that a volume is in, 0 for the others.", {
    ...volume,
    state: volumeStates,
  }),
  highWatermark: gauge("frontcache.volume.high_watermark", "1", "Used share of a volume from which the purger evicts."),
  damages: counter(
    "frontcache.damages",
    "{damage}",
    "Segments, blocks and files found damaged; each is fetched anew when it is wanted.",
  ),
  mappings: upDown("frontcache.mappings", "{mapping}", "Block files mapped into memory."),
  openFiles: upDown("frontcache.files.open", "{file}", "Block files held open."),
  references: upDown("frontcache.references", "{reference}", "Pinned blocks and slices that running reads use."),

  ringMembers: gauge("frontcache.ring.members", "{member}", "Members on this member's ring."),
  ringChanges: counter("frontcache.ring.changes", "{change}", "New member lists taken over."),
  forwards: counter("frontcache.forwards", "{read}", "Reads of one block sent to another member, by how that went.", {
    outcome: ["answered", "out_of_reach", "failed"],
  }),
  failovers: counter(
    "frontcache.failovers",
    "{read}",
    "Reads that went on elsewhere because a member was out of reach: when asked, or midway.",
    {
      stage: ["asked", "midway"],
    },
  ),

  connections: upDown("frontcache.connections", "{connection}", "Open connections, idle ones included.", {
    listener: ["grpc", "http"],
  }),
  loopDelayP50: gauge("nodejs.eventloop.delay.p50", "s", "Event-loop delay of the last 10 s, median."),
  loopDelayP99: gauge("nodejs.eventloop.delay.p99", "s", "Event-loop delay of the last 10 s, 99th percentile."),
  loopDelayMax: gauge("nodejs.eventloop.delay.max", "s", "Event-loop delay of the last 10 s, maximum."),
  loopUtilization: gauge("nodejs.eventloop.utilization", "1", "Share of the last 10 s that the event loop was busy."),
  memory: upDown("process.memory.usage", "By", "Resident memory of the process."),
  cpuTime: counter("process.cpu.time", "s", "CPU time of the process.", { "cpu.mode": ["user", "system"] }),
  uptime: gauge("process.uptime", "s", "How long the process has been running."),
} as const;

export type MetricName = keyof typeof metricList;

type None = Record<never, never>;

function number<const L extends Labels>(
  kind: NumberKind,
  name: string,
  unit: string,
  text: string,
  labels: L,
): NumberDeclaration<L> {
  return { kind, name, unit, text, labels };
}

function counter<const L extends Labels = None>(
  name: string,
  unit: string,
  text: string,
  labels = {} as L,
): NumberDeclaration<L> {
  return number("counter", name, unit, text, labels);
}

function upDown<const L extends Labels = None>(name: string, unit: string, text: string, labels = {} as L): NumberDeclaration<L> {
  return number("upDownCounter", name, unit, text, labels);
}

function gauge<const L extends Labels = None>(name: string, unit: string, text: string, labels = {} as L): NumberDeclaration<L> {
  return number("gauge", name, unit, text, labels);
}

function histogram<const L extends Labels = None>(
  name: string,
  unit: string,
  text: string,
  boundaries: readonly number[],
  labels = {} as L,
): HistogramDeclaration<L> {
  return { kind: "histogram", name, unit, text, labels, boundaries };
}
