import { connectMembers } from "@frontcache/client/members";
import { DEFAULT_GEOMETRY, type MemberInfo } from "@frontcache/proto";
import { sleep } from "@frontcache/proto/runtime";
import { StatusPages } from "../api/admin/status-pages.js";
import { onlyAllowed } from "../api/allowed-buckets.js";
import { GrpcListener } from "../api/grpc/grpc-listener.js";
import { HttpListener } from "../api/http/http-listener.js";
import { textPage } from "../api/http/pages.js";
import { Clients } from "../api/limits/clients.js";
import { measured } from "../api/measured-cache.js";
import { formatHostPort, type HostPort } from "../config/addresses.js";
import type { Settings } from "../config/settings.js";
import { firstMembership } from "../membership/member-source.js";
import { PROMETHEUS_TEXT } from "../metrics/prometheus.js";
import { accessOf } from "../routing/member-access.js";
import { systemClock } from "../runtime/clock.js";
import type { Log } from "../runtime/log.js";
import { Opened } from "../runtime/opened.js";
import { MemberSecurity } from "../security/member-security.js";
import { composeMember } from "./compose-member.js";
import { MemberMetrics } from "./member-metrics.js";
import { discoveryOf, openMembers, openOrigin, openStore } from "./open-ports.js";

/** How long running calls may take to finish: with `--leave-after` still within the 30 s that Kubernetes gives a pod by default. */
const DRAIN_MS = 20_000;

/** How long a member may take to accept a connection of another one. */
const MEMBER_CONNECT_TIMEOUT_MS = 1_000;
/** To one other member: a read that waits for a slow client keeps its connection. */
const MOST_MEMBER_CONNECTIONS = 256;
/**
 * HTTP/2's window of a read between members by gRPC: what a slow client of a forwarded read can make this member hold. It
 * lets 800 MiB/s through at a round trip of 4 ms, more than grpc-js achieves.
 */
const MEMBER_WINDOW_BYTES = 4 << 20;

/** A member that serves. */
export interface RunningServer {
  /** `host:port` by which others reach its gRPC listener. */
  readonly grpcAddress: string;
  /** `host:port` by which others reach its HTTP listener. */
  readonly httpAddress: string;
  /**
   * Leaves, in this order: it says that it is not ready; answers everything for `--leave-after` more, while others see it go
   * and fetch from it what they take over; lets running calls finish, for a bounded time; ends everything. Resolves when
   * nothing is left. Harmless when repeated.
   */
  close(): Promise<void>;
}

/**
 * Builds one member from its settings and starts it; when this resolves it is ready. Nothing else constructs what others work
 * with. Rejects where an address or a cache directory can't be had, or with the reason of `signal`; nothing is left then.
 */
export async function startServer(settings: Settings, log: Log, signal?: AbortSignal): Promise<RunningServer> {
  const opened = new Opened();
  try {
    return await start(settings, log, opened, signal ?? new AbortController().signal);
  } catch (error) {
    return await opened.closeAfter(error, closeFailed(log));
  }
}

async function start(settings: Settings, log: Log, opened: Opened, signal: AbortSignal): Promise<RunningServer> {
  const clock = systemClock;
  const metrics = new MemberMetrics(settings, clock);
  opened.add(() => metrics.close());
  const geometry = { ...DEFAULT_GEOMETRY, blockBytes: settings.blockBytes };
  const security = await MemberSecurity.open(settings, clock, log);
  opened.add(() => security.close());
  const status = new StatusPages({ name: settings.name, counted: () => metrics.snapshot(), security, clock });
  opened.addListener(async () => status.close());
  const clients = new Clients(settings, clock);
  opened.add(() => clients.close());
  const grpcListener = await GrpcListener.open({ listen: settings.listen, drainMs: DRAIN_MS, security, clients, clock, log });
  opened.addListener(() => grpcListener.close());
  const httpListener = await HttpListener.open({
    listen: settings.httpListen,
    drainMs: DRAIN_MS,
    notReadyReasons: () => [],
    pages: new Map([...status.pages, ["/metrics", textPage(PROMETHEUS_TEXT, () => metrics.text())]]),
    security,
    clients,
    clock,
    log,
  });
  opened.addListener(() => httpListener.close());
  const self = {
    name: settings.name,
    grpcAddress: reachableAddress(settings, grpcListener.address),
    httpAddress: reachableAddress(settings, httpListener.address),
  };

  const ports = { grpc: grpcListener.address.port, http: httpListener.address.port };
  const members = await openMembers(settings, self, ports, log);
  opened.add(() => members.close());
  const store = await openStore(settings, geometry, log);
  opened.add(() => store.close());
  const membership = await firstMembership(members, signal);
  const memberClock = { ...clock, random: Math.random };
  const connections = connectMembers({
    clock: memberClock,
    access: accessOf(security),
    connectTimeoutMs: MEMBER_CONNECT_TIMEOUT_MS,
    transport: settings.forward,
    mostConnections: MOST_MEMBER_CONNECTIONS,
    windowBytes: MEMBER_WINDOW_BYTES,
  });
  const origin = openOrigin(settings, metrics.origin, log);
  opened.add(() => origin.close());
  const member = composeMember({
    self,
    membership,
    geometry,
    settings,
    clock: memberClock,
    store,
    origin,
    connections,
    events: metrics.routing,
    onReachable: memberChanged(log),
  });
  opened.add(() => member.close());
  members.subscribe((list) => member.update(list));

  await metrics.export(process.env, log);
  signal.throwIfAborted();
  const { view, local, router } = member;
  metrics.watch({ store, local, view, members, grpcListener, httpListener, clients, security });
  status.watch({ store, view, members, notReady: () => httpListener.notReadyReasons() });
  const cache = measured(metrics.reads)(onlyAllowed(settings.allowBucket)(router));
  grpcListener.serve(cache, router);
  httpListener.serve(cache);
  const { name, grpcAddress, httpAddress } = self;
  log.always(
    { event: "listening", grpc: grpcAddress, http: httpAddress, name, members: view.current.members.length },
    "the member is ready",
  );
  const leaveAfterMs = discoveryOf(settings) === "none" ? 0 : settings.leaveAfterMs;
  const leave = async (): Promise<void> => {
    grpcListener.announceShutdown();
    httpListener.announceShutdown();
    if (leaveAfterMs > 0) await sleep(clock, leaveAfterMs);
    await opened.close(closeFailed(log));
  };
  let left: Promise<void> | undefined;
  return {
    grpcAddress,
    httpAddress,
    close() {
      left ??= leave();
      return left;
    },
  };
}

/** One line when another member can't be reached any more, and one when it answers again. */
function memberChanged(log: Log): (member: MemberInfo, isReachable: boolean) => void {
  return ({ name, grpcAddress: grpc, httpAddress: http }, isReachable) => {
    if (isReachable) log.info({ event: "member-reachable", member: name, grpc, http }, "another member can be reached again");
    else log.warn({ event: "member-unreachable", member: name, grpc, http }, "cannot reach another member");
  };
}

function closeFailed(log: Log): (error: unknown) => void {
  return (error) => log.error({ event: "close-failed", err: error }, "cannot close a part of the member");
}

/** An unspecified address can be listened on and not be reached; this host's loopback is what is left then. */
function reachableAddress({ advertise }: Settings, { host, port }: HostPort): string {
  const loopback: Record<string, string> = { "0.0.0.0": "127.0.0.1", "::": "::1" };
  return formatHostPort({ host: advertise ?? loopback[host] ?? host, port });
}
