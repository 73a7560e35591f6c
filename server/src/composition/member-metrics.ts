import type { Resource } from "@opentelemetry/resources";
import type { GrpcListener } from "../api/grpc/grpc-listener.js";
import type { HttpListener } from "../api/http/http-listener.js";
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
import type { MemberView } from "../routing/member-view.js";
import type { Clock } from "../runtime/clock.js";
import type { Log } from "../runtime/log.js";
import { expiryMs } from "../security/certificates.js";
import type { Security } from "../security/member-security.js";
import type { BlockStore, PurgeReport } from "../storage/block-store.js";

/** Event-loop figures are of so long; the hottest objects' figures are halved after as long six times. */
const TURN_MS = 10_000;
const TURNS_A_DECAY = 6;
const HOTTEST = 100;
const ERRORS = 50;

/** What is looked at before a reading. */
export interface Watched {
  readonly store: Pick<BlockStore, "status" | "onPurged">;
  readonly local: Pick<LocalCache, "status">;
  readonly view: MemberView;
  readonly members: Pick<MemberSource, "report">;
  readonly grpcListener: Pick<GrpcListener, "openConnections" | "authenticationFailures">;
  readonly httpListener: Pick<HttpListener, "openConnections" | "authenticationFailures">;
  readonly clients: Pick<Clients, "refusedConnections" | "refusedReads" | "sendBuffer">;
  readonly security: Security;
}

/** A member's metrics with all that they are gathered by and read from. */
export class MemberMetrics {
  readonly #clock: Clock;

  readonly metrics: Metrics;
  /** For the listeners' reads. */
  readonly reads: ReadMeter;
  /** For what is asked of the stores. */
  readonly origin: OriginMeter;
  /** For what happens between members. */
  readonly routing: RoutingMeter;
  readonly #hottest = new HottestObjects(HOTTEST);
  readonly #errors = new RecentErrors(ERRORS);
  readonly #process: ProcessWatch;
  readonly #resource: Resource;
  readonly #stops: (() => void | Promise<void>)[] = [];
  #turns = 0;
  #cancelTurn: () => void = () => {};

  /** Counts from now on. */
  constructor(settings: Settings, clock: Clock) {
    this.#clock = clock;
    this.metrics = new Metrics(
      settings.cacheDirs.map(({ path }) => path),
      clock.nowMs(),
    );
    this.reads = new ReadMeter(this.metrics, this.#hottest, this.#errors, clock);
    this.origin = new OriginMeter(this.metrics);
    this.routing = new RoutingMeter(this.metrics);
    this.#resource = memberResource(settings.name, packageVersion());
    this.#process = new ProcessWatch(this.metrics);
    const { highWatermark, fillMemoryLimit } = this.metrics.families;
    highWatermark.at().value = settings.highWatermark;
    fillMemoryLimit.at().value = settings.fillMemoryBytes;
    this.#turnLater();
    this.#stops.push(
      () => this.#process.close(),
      () => this.#cancelTurn(),
    );
  }

  /** Exports from now on, where the environment names a collector. */
  async export(environment: Environment, log: Log): Promise<void> {
    const settings = exportSettings(environment);
    if (settings === undefined) return;
    // Imported only where it is wanted, for it brings a protocol along.
    const { OtlpExport } = await import("../metrics/otlp-export.js");
    const producer = new CountersProducer(this.metrics, packageVersion(), this.#clock);
    const otlp = new OtlpExport(producer, this.#resource, settings, log);
    this.#stops.push(() => otlp.close());
  }

  /** Looks at these before each reading, from now on. */
  watch(watched: Watched): void {
    this.metrics.beforeReading(() => this.#look(watched));
    let isFirst = true;
    const { ringChanges } = this.metrics.families;
    this.#stops.push(watched.store.onPurged((report) => this.#countPurge(report)));
    const unsubscribe = watched.view.subscribe(() => {
      if (!isFirst) ringChanges.at().value++;
      isFirst = false;
    });
    this.#stops.push(unsubscribe);
  }

  /** In Prometheus's text format. */
  text(): string {
    return prometheusText(this.metrics, this.#resource);
  }

  /** What the status page shows of this member's counters, now. */
  snapshot(): MetricsSnapshot {
    return snapshotOf(this.metrics, this.#hottest, this.#errors, this.#clock.nowMs());
  }

  /** The last export, then nothing more. Never rejects. */
  async close(): Promise<void> {
    for (let stop = this.#stops.pop(); stop !== undefined; stop = this.#stops.pop()) await stop();
  }

  #look({ store, local, view, members, grpcListener, httpListener, clients, security }: Watched): void {
    const { families } = this.metrics;
    const { volumes, mappings, openFiles, references, damages, purged } = store.status();
    for (const { path: volume, usedBytes, reservedBytes, limitBytes, blocks, state } of volumes) {
      families.volumeUsage.at({ volume }).value = usedBytes;
      families.volumeReserved.at({ volume }).value = reservedBytes;
      families.volumeLimit.at({ volume }).value = limitBytes;
      families.volumeBlocks.at({ volume }).value = blocks;
      for (const each of volumeStates) families.volumeState.at({ volume, state: each }).value = each === state ? 1 : 0;
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
    families.ringMembers.at().value = view.current.members.length;
    const { ageMs, failures } = members.report();
    families.membershipAge.at().value = ageMs / 1000;
    families.membershipFailures.at().value = failures;
    families.connections.at({ listener: "grpc" }).value = grpcListener.openConnections;
    families.connections.at({ listener: "http" }).value = httpListener.openConnections;
    families.authenticationFailures.at({ listener: "grpc" }).value = grpcListener.authenticationFailures.count;
    families.authenticationFailures.at({ listener: "http" }).value = httpListener.authenticationFailures.count;
    families.limitsReached.at({ limit: "connections" }).value = clients.refusedConnections;
    families.limitsReached.at({ limit: "reads" }).value = clients.refusedReads;
    families.limitsReached.at({ limit: "slow_clients" }).value = clients.sendBuffer.disconnectedClients;
    this.#lookAtTls(security);
  }

  #lookAtTls({ tls }: Security): void {
    if (tls === undefined) return;
    const { tlsHandshakeFailures, tlsCertificateExpiry } = this.metrics.families;
    for (const listener of ["grpc", "http"] as const)
      tlsHandshakeFailures.at({ listener }).value = tls.handshakes.counts[listener];
    tlsCertificateExpiry.at().value = expiryMs(tls.current) / 1000;
  }

  #countPurge({ durationMs, victims }: PurgeReport): void {
    const { purgeDuration, evictionAge, evictionIdle } = this.metrics.families;
    purgeDuration.at().record(durationMs / 1000);
    for (const { ageMs, idleMs } of victims) {
      evictionAge.at().record(ageMs / 1000);
      evictionIdle.at().record(idleMs / 1000);
    }
  }

  #turnLater(): void {
    this.#cancelTurn = this.#clock.after(TURN_MS, () => {
      this.#process.turn();
      if (++this.#turns % TURNS_A_DECAY === 0) this.#hottest.decay();
      this.#turnLater();
    });
  }
}
