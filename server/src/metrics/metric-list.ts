import { type ErrorCode, errorTable } from "@frontcache/proto";
import type { HistogramDeclaration, Labels, NumberDeclaration, NumberKind } from "./declaration.js";

/** The source of the bytes of a read; see ReadResult. */
export const readResults = ["hit", "joined", "filled", "forwarded", "stale"] as const;
/** The outcome of a request to an object store. `cancelled`: we aborted it, because no read needed the rest. */
export const originOutcomes = [
  "ok",
  "not_found",
  "precondition",
  "refused",
  "throttled",
  "unavailable",
  "invalid",
  "cancelled",
] as const;
/**
 * The operation of a request to an object store: bytes, metadata of an object, a page of a listing, the existence of a bucket, a
 * client's own request that is passed on, or a client's write.
 */
export const originOperations = ["fetch", "stat", "list", "bucket", "pass", "write"] as const;
const valueResults = ["hit", "miss"] as const;
const valueOperations = ["put", "delete"] as const;
/** Of `lost` values, no member had all bytes any more. */
const goneReasons = ["evicted", "expired", "lost"] as const;
export const volumeStates = ["ok", "full", "failing"] as const;

/** Seconds. Hits take 50 us, forwarded reads some hundred, the origin 10 ms to seconds. */
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
const bucket = { bucket: "configured" } as const;

/**
 * Every metric of a member. The values of labels are listed here or configured, so the number of series does not depend on the
 * objects that are read. Names, units and descriptions follow the conventions of OpenTelemetry.
 */
export const metricList = {
  reads: counter("frontcache.reads", "{read}", "Answered reads, by the source of their bytes.", result),
  readErrors: counter("frontcache.read.errors", "{read}", "Failed reads, by error code.", { "error.type": errorCodes }),
  readDuration: histogram(
    "frontcache.read.duration",
    "s",
    "Time from the arrival of a read to its last sent byte.",
    LATENCY,
    result,
  ),
  readFirstByte: histogram(
    "frontcache.read.time_to_first_byte",
    "s",
    "Time from the arrival of a read to its first available bytes.",
    LATENCY,
    result,
  ),
  readIo: counter("frontcache.read.io", "By", "Bytes sent to clients, by their source.", result),
  saved: counter(
    "frontcache.read.saved",
    "By",
    "Bytes sent to clients without an origin request: cached, or already being fetched.",
  ),

  originRequests: counter(
    "frontcache.origin.requests",
    "{request}",
    "Requests sent to object stores, including retries and hedged requests.",
    request,
  ),
  originDuration: histogram(
    "frontcache.origin.request.duration",
    "s",
    "Time from a request to an object store to the end of the response.",
    ORIGIN_LATENCY,
    request,
  ),
  originFirstByte: histogram(
    "frontcache.origin.time_to_first_byte",
    "s",
    "Time from a request to an object store to the response header.",
    ORIGIN_LATENCY,
    {
      operation: originOperations,
    },
  ),
  originIo: counter("frontcache.origin.io", "By", "Bytes received from object stores."),
  originRetries: counter(
    "frontcache.origin.retries",
    "{request}",
    "Requests to object stores repeated after a transient failure.",
  ),
  originDroppedHeaders: counter(
    "frontcache.origin.headers.dropped",
    "{header}",
    "Headers of objects ignored because they are too long or contain invalid characters.",
  ),
  originTlsFailures: counter(
    "frontcache.origin.tls.failures",
    "{request}",
    "Requests to object stores that failed because of TLS: an untrusted certificate, or a server without TLS.",
  ),
  originHedges: counter(
    "frontcache.origin.hedges",
    "{request}",
    "Second requests sent because the first was late; won: the second response was used.",
    {
      result: ["won", "lost"],
    },
  ),
  originsUnavailable: upDown(
    "frontcache.origins.unavailable",
    "{bucket}",
    "Buckets whose origin does not answer: cached data is served, other requests fail at once.",
  ),
  staleAnswers: counter(
    "frontcache.stale_answers",
    "{answer}",
    "Answers with a cached version that was not confirmed because the origin was slow or unreachable; reads and metadata.",
  ),
  limitsReached: counter(
    "frontcache.limits.reached",
    "{request}",
    "Requests and connections rejected because a limit was reached.",
    {
      limit: ["origin_wait", "origin_queue", "connections", "reads", "slow_clients"],
    },
  ),

  fillsRunning: upDown("frontcache.fills", "{fill}", "Running fills."),
  fillsWaiting: upDown("frontcache.fill.parts.waiting", "{part}", "Parts of fills waiting for memory."),
  fillMemory: upDown("frontcache.fill.memory.usage", "By", "Memory used by running fills."),
  fillMemoryLimit: upDown("frontcache.fill.memory.limit", "By", "Maximum memory of running fills."),
  peerFills: counter("frontcache.peer_fills", "{part}", "Parts fetched from another member instead of the origin."),

  evictions: counter("frontcache.evictions", "{block}", "Blocks evicted by the purger."),
  evicted: counter("frontcache.eviction.io", "By", "Bytes evicted by the purger."),
  evictionAge: histogram("frontcache.eviction.age", "s", "Time since an evicted block was cached.", AGES),
  evictionIdle: histogram("frontcache.eviction.idle", "s", "Time since the last use of an evicted block.", AGES),
  purgeDuration: histogram("frontcache.purge.duration", "s", "Duration of a run of the purger over one volume.", PURGES),
  volumeUsage: upDown("frontcache.volume.usage", "By", "Bytes of a volume used by cached blocks.", volume),
  volumeReserved: upDown("frontcache.volume.reserved", "By", "Bytes of a volume reserved for running fills.", volume),
  volumeLimit: upDown("frontcache.volume.limit", "By", "Size limit of a volume, or the size of its file system.", volume),
  volumeBlocks: upDown("frontcache.volume.blocks", "{block}", "Blocks cached on a volume.", volume),
  volumeFreeFiles: upDown(
    "frontcache.volume.free_files",
    "{file}",
    "Block files that a volume may still create, by the free inodes of its file system and the memory for the list of blocks.",
    volume,
  ),
  volumeState: gauge("frontcache.volume.state", "{state}", "1 for the current state of a volume, 0 for the others.", {
    ...volume,
    state: volumeStates,
  }),
  highWatermark: gauge("frontcache.volume.high_watermark", "1", "Used share of a volume above which the purger evicts."),
  corruptions: counter(
    "frontcache.corruptions",
    "{corruption}",
    "Corrupt segments, blocks and files found; they are fetched again on the next read.",
  ),
  mappings: upDown("frontcache.mappings", "{mapping}", "Block files mapped into memory."),
  openFiles: upDown("frontcache.files.open", "{file}", "Open block files."),
  references: upDown("frontcache.references", "{reference}", "Pinned blocks and slices that running reads use."),

  ringMembers: gauge("frontcache.ring.members", "{member}", "Members on the ring, as this member sees it."),
  ringChanges: counter("frontcache.ring.changes", "{change}", "Changes of the member list."),
  membershipAge: gauge(
    "frontcache.membership.age",
    "s",
    "Time since the Kubernetes API last confirmed the member list; 0 for a fixed list.",
  ),
  membershipFailures: counter("frontcache.membership.failures", "{failure}", "Failed attempts to list or watch the members."),
  forwards: counter("frontcache.forwards", "{read}", "Reads of one block forwarded to another member, by outcome.", {
    outcome: ["answered", "unreachable", "failed"],
  }),
  failovers: counter(
    "frontcache.failovers",
    "{read}",
    "Reads continued elsewhere because a member was unreachable: at the request, or midway.",
    {
      stage: ["asked", "midway"],
    },
  ),

  connections: upDown("frontcache.connections", "{connection}", "Open connections, including idle ones.", {
    listener: ["grpc", "http", "s3", "elcache", "filestore"],
  }),
  authenticationFailures: counter(
    "frontcache.authentication.failures",
    "{request}",
    "Requests rejected because they had no valid token or certificate.",
    { listener: ["grpc", "http", "s3", "elcache", "filestore"] },
  ),
  authorizationDecisions: counter(
    "frontcache.authorization.decisions",
    "{decision}",
    "Decisions about access, if an identities file or --allow-bucket restricts it.",
    { method: ["anonymous", "member", "token", "signature", "certificate", "jwt"], outcome: ["allowed", "denied"] },
  ),
  originVerdicts: counter(
    "frontcache.origin.verdicts",
    "{decision}",
    "Decisions of origins about principals with origin credentials of their own. Remembered ones cost no request.",
    { outcome: ["remembered", "allowed", "denied", "failed"] },
  ),
  memberRefusals: counter(
    "frontcache.member.refusals",
    "{request}",
    "Requests that only members may send, from callers that did not prove to be members.",
    { listener: ["grpc", "http", "s3", "elcache", "filestore"] },
  ),
  values: upDown("frontcache.values", "{value}", "Values on this member: objects without an origin, copies included."),
  valueSize: upDown("frontcache.value.size", "By", "Bytes of the values on this member."),
  valueBucketUsage: upDown(
    "frontcache.value.bucket.usage",
    "By",
    "Bytes of this member's volumes that a bucket of values uses, replaced versions and values that are being written included.",
    bucket,
  ),
  valueBucketLimit: upDown(
    "frontcache.value.bucket.limit",
    "By",
    "Bytes of this member's volumes that a bucket of values may use: its share, or all.",
    bucket,
  ),
  valueReads: counter("frontcache.value.reads", "{read}", "Reads of values that this member took.", {
    result: valueResults,
  }),
  valueWrites: counter("frontcache.value.writes", "{write}", "Values written and deleted by requests that this member took.", {
    operation: valueOperations,
  }),
  valuesGone: counter("frontcache.values.gone", "{value}", "Values that are not on this member any more, by the reason.", {
    reason: goneReasons,
  }),
  valuesUnderReplicated: counter(
    "frontcache.values.under_replicated",
    "{value}",
    "Writes that fewer members took than --replicas says, because no others could be reached.",
  ),
  valuesCopied: counter("frontcache.values.copied", "{value}", "Values copied from other members, because members came or went."),
  objectLeases: gauge(
    "frontcache.object.leases",
    "{lease}",
    "Leases of object records: granted as the home of the objects, and held to answer without asking their homes.",
    { role: ["granted", "held"] },
  ),
  objectTakeovers: gauge(
    "frontcache.object.takeovers",
    "{member}",
    "Members that have yet to hand over objects whose home this member has become.",
  ),
  tlsHandshakeFailures: counter("frontcache.tls.handshake.failures", "{handshake}", "TLS handshakes that failed.", {
    listener: ["grpc", "http", "s3", "elcache", "filestore"],
  }),
  tlsCertificateExpiry: gauge(
    "frontcache.tls.certificate.expiry",
    "s",
    "Unix time at which this member's certificate expires; 0 without TLS.",
  ),
  loopDelayP50: gauge("nodejs.eventloop.delay.p50", "s", "Median event-loop delay of the last 10 s."),
  loopDelayP99: gauge("nodejs.eventloop.delay.p99", "s", "The 99th percentile of the event-loop delay of the last 10 s."),
  loopDelayMax: gauge("nodejs.eventloop.delay.max", "s", "Maximum event-loop delay of the last 10 s."),
  loopUtilization: gauge("nodejs.eventloop.utilization", "1", "Share of the last 10 s that the event loop was busy."),
  memory: upDown("process.memory.usage", "By", "Resident memory of the process."),
  cpuTime: counter("process.cpu.time", "s", "CPU time of the process.", { "cpu.mode": ["user", "system"] }),
  uptime: gauge("process.uptime", "s", "Time since the start of the process."),
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
