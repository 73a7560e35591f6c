import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { getHeapStatistics } from "node:v8";
import type { Geometry, MemberInfo } from "@frontcache/proto";
import type { Environment } from "../config/declarations.js";
import type { Settings } from "../config/settings.js";
import { inKubernetes, openKubeAccess } from "../kubernetes/kube-access.js";
import { alone } from "../membership/alone.js";
import { kubernetesMembers, kubernetesTimes } from "../membership/kubernetes-members.js";
import type { MemberSource } from "../membership/member-source.js";
import { staticMembers } from "../membership/static-members.js";
import type { OriginMeter } from "../metrics/origin-meter.js";
import { OriginAvailability } from "../origin/availability.js";
import { DroppedHeadersLog } from "../origin/dropped-headers-log.js";
import { OriginFailureLog } from "../origin/failure-log.js";
import { isTlsFailure } from "../origin/http/certificate-errors.js";
import type { Way } from "../origin/http/way.js";
import type { Origin } from "../origin/origin.js";
import { systemClock } from "../runtime/clock.js";
import type { Log } from "../runtime/log.js";
import type { OriginAccesses } from "../security/origin-access.js";
import { BlockStore, ioParallelism, storageTuning } from "../storage/block-store.js";
import { descriptorLimit, openNodeDisk, poolThreads } from "../storage/disk/node-disk.js";
import { openMapper } from "../storage/mapping/mapping.js";
import { ReplicatedValues, type ReplicatedValuesOptions } from "../values/replicated-values.js";
import { type OriginEvents, openOrigins } from "./open-origins.js";

/** Maximum open and mapped block files: half of vm.max_map_count (65,530), because each may need two areas. */
const MAX_MAPPINGS = 16_384;

/** Heap that a cached block of an object of its own takes (measured: 1.75 KiB), rounded up. Half of the heap is for blocks. */
const BLOCK_HEAP_BYTES = 2_048;

/** Opens the volumes of `--cache-dirs` and recovers their blocks. Rejects if one cannot be used. */
export async function openStore(settings: Settings, geometry: Geometry, log: Log): Promise<BlockStore> {
  const { blockBytes } = geometry;
  const maxMappings = Math.min(MAX_MAPPINGS, Math.floor((descriptorLimit() ?? 1_024) / 2));
  return BlockStore.open({
    volumes: settings.cacheDirs,
    geometry,
    disk: await openNodeDisk(),
    mapper: await openMapper({ blockBytes, maxMappings }),
    clock: systemClock,
    log,
    highWatermark: settings.highWatermark,
    lowWatermark: settings.lowWatermark,
    keepFree: settings.keepFree,
    maxBlocks: Math.floor(getHeapStatistics().heap_size_limit / 2 / BLOCK_HEAP_BYTES),
    eviction: settings.eviction,
    buckets: settings.cacheBucket.map(({ name, share, isPinned }) => ({ url: `cache://${name}`, size: share, isPinned })),
    maxMappings,
    purgeIntervalMs: settings.purgeIntervalMs,
    tuning: { ...storageTuning, ioParallelism: ioParallelism(settings.cacheDirs.length, poolThreads()) },
  });
}

/** Opens the values of this member, which are on its volumes. Undefined: no bucket of values is declared. */
export async function openValues(
  { cacheBucket: buckets, replicas, cacheDirs }: Settings,
  parts: Pick<ReplicatedValuesOptions, "members" | "store" | "geometry" | "log">,
): Promise<ReplicatedValues | undefined> {
  if (buckets.length === 0) return undefined;
  return ReplicatedValues.open({
    ...parts,
    buckets,
    replicas,
    clock: systemClock,
    disk: await openNodeDisk(),
    directory: join(cacheDirs[0]!.path, "values"),
    epoch: randomUUID(),
  });
}

/** Opens the origins, with metrics and log lines for their events. Connects only when the first request needs it. */
export function openOrigin(
  settings: Settings,
  environment: Environment,
  meter: OriginMeter,
  log: Log,
  availability: OriginAvailability,
  accesses: OriginAccesses,
  directSend: Way["directSend"],
): Origin {
  const failureLog = new OriginFailureLog(log, systemClock);
  const droppedHeadersLog = new DroppedHeadersLog(log, systemClock);
  const events = {
    onRetry: ({ error, ...retry }) => {
      meter.retry();
      log.debug({ event: "origin-retry", ...retry }, error.message);
    },
    onFailure: (failure) => failureLog.report(failure),
    onHedge: (hedge) => {
      meter.hedge(hedge);
      log.debug({ event: "origin-hedge", ...hedge }, "a second request was sent");
    },
    onRequest: (request) => {
      meter.request(request);
      if (isTlsFailure(request.error)) meter.tlsFailure();
    },
    onLimitReached: ({ reason }) => meter.limit(reason),
    onDroppedHeaders: (ref, names) => {
      meter.droppedHeaders(names.length);
      droppedHeadersLog.report(ref, names);
    },
  } satisfies OriginEvents;
  return openOrigins(settings, environment, events, availability, accesses, directSend);
}

/** Observes which origins are available, and logs when that changes. */
export function observeOrigins(log: Log): OriginAvailability {
  return new OriginAvailability({
    clock: systemClock,
    onChange({ bucket, endpoint, isAvailable, error }) {
      const fields = { bucket, origin: endpoint };
      if (isAvailable) log.info({ event: "origin-available", ...fields }, "the origin answers again");
      else {
        const message = "the origin does not answer: cached data is served, all other requests fail until it answers";
        log.warn({ event: "origin-unavailable", ...fields, error: error?.message }, message);
      }
    },
  });
}

/** The ports of this member's listeners. In Kubernetes all members use the same ports. */
export interface Ports {
  readonly grpc: number;
  readonly http: number;
}

/** Opens the source of the member list. Rejects if it cannot work, for example if the kubeconfig is unreadable. */
export async function openMembers(settings: Settings, self: MemberInfo, ports: Ports, log: Log): Promise<MemberSource> {
  const { blockBytes, members, kubeconfig, namespace, label, identity, unreadyGraceMs } = settings;
  switch (discoveryOf(settings)) {
    case "static":
      return staticMembers(members, blockBytes);
    case "kubernetes":
      // A wrong configuration does not mend itself, so it fails the start. An unreachable API is retried instead.
      await openKubeAccess(kubeconfig);
      return kubernetesMembers({
        openAccess: () => openKubeAccess(kubeconfig),
        namespace,
        labelSelector: label,
        identity,
        grpcPort: ports.grpc,
        httpPort: ports.http,
        unreadyGraceMs,
        blockBytes,
        times: kubernetesTimes,
        clock: systemClock,
        random: Math.random,
        log,
      });
    case "none":
      return alone(self, blockBytes);
  }
}

/** Resolves `--discovery auto`. */
export function discoveryOf({ discovery, members, kubeconfig }: Settings): Exclude<Settings["discovery"], "auto"> {
  if (discovery !== "auto") return discovery;
  if (members.length > 0) return "static";
  return kubeconfig !== undefined || inKubernetes(process.env) ? "kubernetes" : "none";
}
