import type { Resource } from "@opentelemetry/resources";
import type { GrpcListener } from "../api/grpc/grpc-listener.js";
import type { Clients } from "../api/limits/clients.js";
import type { LocalCache } from "../cache/local-cache.js";
import type { Environment } from "../config/declarations.js";
import { packageVersion } from "../config/package-version.js";
import type { Settings } from "../config/settings.js";
import type { MemberSource } from "../membership/member-source.js";
import { exportSettings } from "../metrics/export-settings.js";
import { HottestObjects } from "../metrics/hottest-objects.js";
import { memberResource } from "../metrics/member-resource.js";
import { volumeStates } from "../metrics/metric-list.js";
import { CountersProducer } from "../metrics/metric-producer.js";
import { Metrics } from "../metrics/metrics.js";
import { OriginMeter } from "../metrics/origin-meter.js";
import { ProcessWatch } from "../metrics/process-watch.js";
import { prometheusText } from "../metrics/prometheus.js";
import { ReadMeter } from "../metrics/read-meter.js";
import { RecentErrors } from "../metrics/recent-errors.js";
import { RoutingMeter } from "../metrics/routing-meter.js";
import { type MetricsSnapshot, snapshotOf } from "../metrics/snapshot.js";
import type { ObjectHomes } from "../objects/object-homes.js";
import type { OriginAvailability } from "../origin/availability.js";
import type { MemberView } from "../routing/member-view.js";
import type { Verdicts } from "../routing/verdicts.js";
import type { Clock } from "../runtime/clock.js";
import type { Log } from "../runtime/log.js";
import { expiryMs } from "../security/certificates.js";
import { LISTENERS, type ListenerName } from "../security/failure-count.js";
import type { Security } from "../security/member-security.js";
import { authenticationMethods } from "../security/principal.js";
import type { BlockStore, PurgeRun } from "../storage/block-store.js";
import type { ValueStats, Values } from "../values/values.js";

/** Interval of event-loop figures, milliseconds. The counts of the hottest objects are halved after every sixth interval. */
const INTERVAL_MS = 10_000;
const INTERVALS_PER_DECAY = 6;
const HOTTEST = 100;
const ERRORS = 50;

/** The figures of a member without buckets of values. */
const NO_VALUES = {
  entries: 0,
  sizeBytes: 0,
  hits: 0,
  misses: 0,
  inserts: 0,
  deletes: 0,
  evictions: 0,
  expirations: 0,
  lost: 0,
  underReplicated: 0,
  repaired: 0,
} as const satisfies Partial<ValueStats>;

/** The components whose state is read before each collection of metrics. */
export interface Watched {
  readonly store: Pick<BlockStore, "status" | "onPurged">;
  readonly local: Pick<LocalCache, "status" | "freshness">;
  readonly objects: Pick<ObjectHomes, "status">;
  /** Undefined: this member keeps no values. */
  readonly values: Pick<Values, "stats"> | undefined;
  /** Undefined: no principal has origin credentials of its own. */
  readonly verdicts: Pick<Verdicts, "counts"> | undefined;
  readonly originStates: Pick<OriginAvailability, "unavailable">;
  readonly view: MemberView;
  readonly members: Pick<MemberSource, "report">;
  /** Those that the member has. */
  readonly listeners: Partial<Record<ListenerName, Pick<GrpcListener, "openConnections" | "authenticationFailures">>>;
  readonly clients: Pick<Clients, "refusedConnections" | "refusedReads" | "sendBuffer">;
  readonly security: Security;
}

/** The metrics of a member: their meters, their sources and their exports. */
export class MemberMetrics {
  readonly #clock: Clock;

  readonly metrics: Metrics;
  /** Counts the reads of the listeners. */
  readonly reads: ReadMeter;
  /** Counts the requests to object stores. */
  readonly origin: OriginMeter;
  /** Counts the requests between members. */
  readonly routing: RoutingMeter;
  readonly #hottest = new HottestObjects(HOTTEST);
  readonly #errors = new RecentErrors(ERRORS);
  readonly #process: ProcessWatch;
  readonly #resource: Resource;
  readonly #stops: (() => void | Promise<void>)[] = [];
  #intervals = 0;
  #cancelInterval: () => void = () => {};

  /** Starts counting. */
  constructor(settings: Settings, clock: Clock) {
    this.#clock = clock;
    const volume = settings.cacheDirs.map(({ path }) => path);
    this.metrics = new Metrics({ volume, bucket: settings.cacheBucket.map(({ name }) => name) }, clock.nowMs());
    this.reads = new ReadMeter(this.metrics, this.#hottest, this.#errors, clock);
    this.origin = new OriginMeter(this.metrics);
    this.routing = new RoutingMeter(this.metrics);
    this.#resource = memberResource(settings.name, packageVersion());
    this.#process = new ProcessWatch(this.metrics);
    const { highWatermark, fillMemoryLimit } = this.metrics.families;
    highWatermark.at().value = settings.highWatermark;
    fillMemoryLimit.at().value = settings.fillMemoryBytes;
    this.#scheduleInterval();
    this.#stops.push(
      () => this.#process.close(),
      () => this.#cancelInterval(),
    );
  }

  /** Starts the OTLP export if the environment configures a collector. */
  async export(environment: Environment, log: Log): Promise<void> {
    const settings = exportSettings(environment);
    if (settings === undefined) return;
    // Imported only if configured, because it loads a gRPC exporter.
    const { OtlpExport } = await import("../metrics/otlp-export.js");
    const producer = new CountersProducer(this.metrics, packageVersion(), this.#clock);
    const otlp = new OtlpExport(producer, this.#resource, settings, log);
    this.#stops.push(() => otlp.close());
  }

  /** Reads the state of these components before each collection from now on. */
  watch(watched: Watched): void {
    this.metrics.beforeReading(() => this.#collect(watched));
    let isFirst = true;
    const { ringChanges } = this.metrics.families;
    this.#stops.push(watched.store.onPurged((report) => this.#countPurge(report)));
    const unsubscribe = watched.view.subscribe(() => {
      if (!isFirst) ringChanges.at().value++;
      isFirst = false;
    });
    this.#stops.push(unsubscribe);
  }

  /** Returns all metrics in Prometheus's text format. */
  text(): string {
    return prometheusText(this.metrics, this.#resource);
  }

  /** Returns the counters that the status page shows. */
  snapshot(): MetricsSnapshot {
    return snapshotOf(this.metrics, this.#hottest, this.#errors, this.#clock.nowMs());
  }

  /** Exports a last time and stops. Never rejects. */
  async close(): Promise<void> {
    for (let stop = this.#stops.pop(); stop !== undefined; stop = this.#stops.pop()) await stop();
  }

  #collect(watched: Watched): void {
    const { store, local, objects, verdicts, originStates, view, members, clients, security } = watched;
    const { families } = this.metrics;
    const { volumes, buckets, mappings, openFiles, references, damages, purged } = store.status();
    for (const { path: volume, usedBytes, reservedBytes, limitBytes, blocks, freeFiles, state } of volumes) {
      families.volumeUsage.at({ volume }).value = usedBytes;
      families.volumeReserved.at({ volume }).value = reservedBytes;
      families.volumeLimit.at({ volume }).value = limitBytes;
      families.volumeBlocks.at({ volume }).value = blocks;
      families.volumeFreeFiles.at({ volume }).value = freeFiles;
      for (const each of volumeStates) families.volumeState.at({ volume, state: each }).value = each === state ? 1 : 0;
    }
    const totalBytes = volumes.reduce((sum, { limitBytes }) => sum + limitBytes, 0);
    for (const { url, usedBytes, limitBytes = totalBytes } of buckets) {
      const bucket = url.slice("cache://".length);
      families.valueBucketUsage.at({ bucket }).value = usedBytes;
      families.valueBucketLimit.at({ bucket }).value = limitBytes;
    }
    families.mappings.at().value = mappings;
    families.openFiles.at().value = openFiles;
    families.references.at().value = references;
    families.corruptions.at().value = damages;
    families.evictions.at().value = purged.blocks;
    families.evicted.at().value = purged.bytes;
    const { fills, waitingParts, fillMemoryBytes } = local.status();
    families.fillsRunning.at().value = fills;
    families.fillsWaiting.at().value = waitingParts;
    families.fillMemory.at().value = fillMemoryBytes;
    families.originsUnavailable.at().value = originStates.unavailable;
    families.staleAnswers.at().value = local.freshness.staleAnswers;
    families.ringMembers.at().value = view.current.members.length;
    const { ageMs, failures } = members.report();
    families.membershipAge.at().value = ageMs / 1000;
    families.membershipFailures.at().value = failures;
    const { listeners } = watched;
    for (const listener of LISTENERS) {
      const { openConnections = 0, authenticationFailures } = listeners[listener] ?? {};
      families.connections.at({ listener }).value = openConnections;
      families.authenticationFailures.at({ listener }).value = authenticationFailures?.counts[listener] ?? 0;
      families.memberRefusals.at({ listener }).value = security.members.refusals.counts[listener];
    }
    families.limitsReached.at({ limit: "connections" }).value = clients.refusedConnections;
    families.limitsReached.at({ limit: "reads" }).value = clients.refusedReads;
    families.limitsReached.at({ limit: "slow_clients" }).value = clients.sendBuffer.disconnectedClients;
    this.#collectTls(security);
    for (const method of authenticationMethods) {
      const { allowed, denied } = security.authorization.counts[method];
      families.authorizationDecisions.at({ method, outcome: "allowed" }).value = allowed;
      families.authorizationDecisions.at({ method, outcome: "denied" }).value = denied;
    }
    for (const outcome of ["remembered", "allowed", "denied", "failed"] as const) {
      families.originVerdicts.at({ outcome }).value = verdicts?.counts[outcome] ?? 0;
    }
    const { leasesGranted, leasesHeld, takeOvers } = objects.status();
    families.objectLeases.at({ role: "granted" }).value = leasesGranted;
    families.objectLeases.at({ role: "held" }).value = leasesHeld;
    families.objectTakeovers.at().value = takeOvers;
    this.#collectValues(watched.values?.stats() ?? NO_VALUES);
  }

  #collectValues(stats: Pick<ValueStats, keyof typeof NO_VALUES>): void {
    const { families } = this.metrics;
    families.values.at().value = stats.entries;
    families.valueSize.at().value = stats.sizeBytes;
    families.valueReads.at({ result: "hit" }).value = stats.hits;
    families.valueReads.at({ result: "miss" }).value = stats.misses;
    families.valueWrites.at({ operation: "put" }).value = stats.inserts;
    families.valueWrites.at({ operation: "delete" }).value = stats.deletes;
    families.valuesGone.at({ reason: "evicted" }).value = stats.evictions;
    families.valuesGone.at({ reason: "expired" }).value = stats.expirations;
    families.valuesGone.at({ reason: "lost" }).value = stats.lost;
    families.valuesUnderReplicated.at().value = stats.underReplicated;
    families.valuesCopied.at().value = stats.repaired;
  }

  #collectTls({ tls }: Security): void {
    if (tls === undefined) return;
    const { tlsHandshakeFailures, tlsCertificateExpiry } = this.metrics.families;
    for (const listener of LISTENERS) tlsHandshakeFailures.at({ listener }).value = tls.handshakes.counts[listener];
    tlsCertificateExpiry.at().value = expiryMs(tls.current) / 1000;
  }

  #countPurge({ durationMs, victims }: PurgeRun): void {
    const { purgeDuration, evictionAge, evictionIdle } = this.metrics.families;
    purgeDuration.at().record(durationMs / 1000);
    for (const { ageMs, idleMs } of victims) {
      evictionAge.at().record(ageMs / 1000);
      evictionIdle.at().record(idleMs / 1000);
    }
  }

  #scheduleInterval(): void {
    this.#cancelInterval = this.#clock.after(INTERVAL_MS, () => {
      this.#process.endInterval();
      if (++this.#intervals % INTERVALS_PER_DECAY === 0) this.#hottest.decay();
      this.#scheduleInterval();
    });
  }
}
