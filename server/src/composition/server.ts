import { connectMembers, HttpObjectRequests, unreachableCode } from "@frontcache/client/members";
import { type CacheError, DEFAULT_GEOMETRY, type MemberInfo } from "@frontcache/proto";
import { sleep } from "@frontcache/proto/runtime";
import { StatusPages } from "../api/admin/status-pages.js";
import { authorized } from "../api/authorized-cache.js";
import { authorizedValues } from "../api/authorized-values.js";
import { Clients } from "../api/limits/clients.js";
import { measured } from "../api/measured-cache.js";
import { directSendBy } from "../api/sending/direct-socket.js";
import { withValues } from "../api/values/values-cache.js";
import type { Environment } from "../config/declarations.js";
import { type Settings, SettingsError } from "../config/settings.js";
import { firstMembership } from "../membership/member-source.js";
import { accessOf } from "../routing/member-access.js";
import { valueMembers } from "../routing/member-values.js";
import { systemClock } from "../runtime/clock.js";
import type { Log } from "../runtime/log.js";
import { Opened } from "../runtime/opened.js";
import { MemberSecurity } from "../security/member-security.js";
import { loadLibc } from "../storage/mapping/libc.js";
import { composeMember, type MemberParts } from "./compose-member.js";
import { type ListenerAddresses, openListeners } from "./listeners.js";
import { MemberMetrics } from "./member-metrics.js";
import { loadSdks } from "./open-origins.js";
import { discoveryOf, observeOrigins, openMembers, openOrigin, openStore, openValues } from "./open-ports.js";

/** Shorter than the idle timeouts of members (75 s). */
const MEMBER_IDLE_MS = 45_000;
/** Maximum HTTP connections to one other member. It is large, because a forwarded read to a slow client keeps its connection. */
const MOST_MEMBER_CONNECTIONS = 256;
/**
 * HTTP/2 window of a read between members over gRPC. It bounds the bytes that this member buffers for a slow client of a forwarded
 * read. With a round trip of 4 ms it allows 1 GiB/s, more than grpc-js achieves.
 */
const MEMBER_WINDOW_BYTES = 4 << 20;

/** A running member. */
export interface RunningServer extends ListenerAddresses {
  /**
   * Shuts down gracefully, in this order:
   * 1. Reports not-ready.
   * 2. Keeps serving for `--leave-after`, while other members remove it from the ring and copy its blocks when they need them.
   * 3. Lets running calls finish, for a bounded time.
   * 4. Closes everything.
   * Resolves when all resources are released. Further calls return the same promise.
   */
  close(): Promise<void>;
}

/**
 * Builds a member from its settings and starts it; resolves when it is ready. This is the composition root: it constructs all
 * components and passes them to each other. The environment has what other programs define: origins' keys, proxies, the collector
 * of metrics. Rejects if an address or a cache directory cannot be used, or with the reason of `signal`; all resources are then
 * released.
 */
export async function startServer(
  settings: Settings,
  environment: Environment,
  log: Log,
  signal?: AbortSignal,
): Promise<RunningServer> {
  const opened = new Opened();
  try {
    return await start(settings, environment, log, opened, signal ?? new AbortController().signal);
  } catch (error) {
    return await opened.closeAfter(error, closeFailed(log));
  }
}

async function start(
  settings: Settings,
  environment: Environment,
  log: Log,
  opened: Opened,
  signal: AbortSignal,
): Promise<RunningServer> {
  const clock = systemClock;
  const { memberTimeoutMs } = settings;
  const metrics = new MemberMetrics(settings, clock);
  opened.add(() => metrics.close());
  const geometry = { ...DEFAULT_GEOMETRY, blockBytes: settings.blockBytes };
  const security = await MemberSecurity.open(settings, clock, log);
  opened.add(() => security.close());
  requireProvenMembers(settings, security);
  requireReachable(settings);
  const status = new StatusPages({ name: settings.name, memberTimeoutMs, counted: () => metrics.snapshot(), security, clock });
  opened.addListener(async () => status.close());
  const clients = new Clients(settings, clock);
  opened.add(() => clients.close());
  const isWritable = settings.writes !== "off";
  const libc = settings.sendfile ? await loadLibc() : undefined;
  const metricsText = (): string => metrics.text();
  const listeners = await openListeners({ settings, status, metricsText, security, clients, libc, clock, log }, opened);
  const { grpcAddress, httpAddress, s3Address, elcacheAddress, filestoreAddress, ports } = listeners;
  const self = listedMember(settings, grpcAddress, httpAddress);
  const members = await openMembers(settings, self, ports, log);
  opened.add(() => members.close());
  const store = await openStore(settings, geometry, log);
  opened.add(() => store.close());
  await loadSdks(settings);
  const membership = await firstMembership(members, signal);
  const memberClock = { ...clock, random: Math.random };
  const reachedBy = {
    clock: memberClock,
    access: accessOf(security),
    connectTimeoutMs: memberTimeoutMs,
    mostConnections: MOST_MEMBER_CONNECTIONS,
  };
  const directSend = libc && directSendBy(libc);
  const connections = connectMembers({
    ...reachedBy,
    transport: settings.forward,
    windowBytes: MEMBER_WINDOW_BYTES,
    probesEarly: true,
    directSend,
    onHttpChange: httpChanged(log),
  });
  const originStates = observeOrigins(log);
  const origin = openOrigin(settings, environment, metrics.origin, log, originStates, security.originAccesses, directSend);
  opened.add(() => origin.close());
  const member = composeMember({
    self,
    membership,
    mayHaveOthers: discoveryOf(settings) !== "none",
    geometry,
    settings,
    clock: memberClock,
    store,
    origin,
    teeWritesBytes: isWritable || settings.cacheBucket.length > 0 ? settings.teeWritesBytes : undefined,
    asCaller: asCallerOf(settings, security),
    originStates,
    connections,
    memberTimeoutMs,
    events: metrics.routing,
    onReachable: memberChanged(log),
    pipeCalls: libc,
  });
  opened.add(() => member.close());
  const requests = new HttpObjectRequests({ ...reachedBy, idleMs: MEMBER_IDLE_MS });
  opened.add(() => requests.close());
  const values = await openValues(settings, { members: valueMembers(member.others, requests), store, geometry, log });
  if (values !== undefined) opened.add(() => values.close());
  const clientValues = values && authorizedValues(security.authorization)(values);
  const others = () => member.view.known().filter(({ name }) => name !== self.name);
  if (discoveryOf(settings) !== "none") security.followMembers(others);
  security.onRenewal(() => connections.renew());
  members.subscribe((list) => {
    member.update(list);
    security.membersChanged();
  });

  await metrics.export(environment, log);
  signal.throwIfAborted();
  const { view, local, router, objects } = member;
  metrics.watch({
    store,
    local,
    objects,
    values,
    verdicts: member.verdicts,
    originStates,
    view,
    members,
    listeners: listeners.byName,
    clients,
    security,
  });
  status.watch({ store, view, members, notReady: () => listeners.byName.http.notReadyReasons() });
  const whole = values === undefined ? member.cache : withValues(values, isWritable)(member.cache);
  const cache = measured(metrics.reads)(authorized(security.authorization)(whole));
  listeners.serve({ cache, members: router, objects: objects.service, values: values?.service, clientValues });
  const { name } = self;
  const { sockets } = listeners;
  log.always(
    {
      event: "listening",
      grpc: grpcAddress,
      http: httpAddress,
      s3: s3Address,
      elcache: elcacheAddress,
      filestore: filestoreAddress,
      ...(sockets.length > 0 && { sockets }),
      name,
      members: view.current.members.length,
    },
    "the member is ready",
  );
  const leaveAfterMs = discoveryOf(settings) === "none" ? 0 : settings.leaveAfterMs;
  const shutDown = async (): Promise<void> => {
    listeners.announceShutdown();
    if (leaveAfterMs > 0) await sleep(clock, leaveAfterMs);
    objects.shutDown();
    await opened.close(closeFailed(log));
  };
  let closed: Promise<void> | undefined;
  return {
    grpcAddress,
    httpAddress,
    s3Address,
    elcacheAddress,
    filestoreAddress,
    close() {
      closed ??= shutDown();
      return closed;
    },
  };
}

/** Without an identities file, no principal has origin credentials of its own. */
function asCallerOf(
  { identitiesFile, verdictTtlMs }: Settings,
  { originAccesses: accesses, authorization }: MemberSecurity,
): MemberParts["asCaller"] {
  if (identitiesFile === undefined) return undefined;
  return {
    accesses,
    verdictTtlMs,
    onDenied: (principal, { url }, reason) =>
      authorization.deniedElsewhere({ principal, operation: "read", subject: url }, reason),
  };
}

/** Members are exempt from grants, so an address must not suffice to be one. */
function requireProvenMembers(settings: Settings, { members }: MemberSecurity): void {
  if (settings.identitiesFile === undefined || discoveryOf(settings) === "none" || !members.isByAddress) return;
  throw new SettingsError([
    "--identities-file requires that members prove themselves: set --members-key-file, or --tls-ca with --members-name",
  ]);
}

/** Other members connect over TCP. */
function requireReachable(settings: Settings): void {
  if (discoveryOf(settings) === "none") return;
  const unreachable = [
    { flag: "--listen", at: settings.listen },
    { flag: "--http-listen", at: settings.httpListen },
  ].filter(({ at }) => at.tcp === undefined);
  if (unreachable.length === 0) return;
  throw new SettingsError(
    unreachable.map(({ flag }) => `${flag} has only a Unix socket, to which other members cannot connect: add host:port`),
  );
}

/** Logs when another member becomes unreachable, and when it answers again. */
function memberChanged(log: Log): (member: MemberInfo, failure: CacheError | undefined) => void {
  return ({ name: member, grpcAddress: grpc, httpAddress: http }, failure) => {
    if (failure === undefined) log.info({ event: "member-reachable", member, grpc, http }, "another member can be reached again");
    else log.warn({ event: "member-unreachable", member, grpc, http, ...causeOf(failure) }, "cannot reach another member");
  };
}

/** Logs a line when the HTTP listener of another member fails, and when it answers again. */
function httpChanged(log: Log): (http: string, failure: CacheError | undefined) => void {
  return (http, failure) => {
    if (failure === undefined)
      log.info({ event: "member-http-reachable", http }, "the HTTP listener of another member answers again");
    else {
      const message = "cannot read from another member over HTTP: reads use gRPC";
      log.warn({ event: "member-http-unreachable", http, ...causeOf(failure) }, message);
    }
  };
}

/** Why another member cannot be reached, for the log. */
function causeOf(failure: CacheError): { readonly code: string; readonly error: string } {
  return { code: unreachableCode(failure), error: failure.message };
}

function closeFailed(log: Log): (error: unknown) => void {
  return (error) => log.error({ event: "close-failed", err: error }, "cannot close a component of the member");
}

/**
 * The entry of this member in the member list. Clients on other hosts cannot use the Unix socket of an HTTP listener, so it is listed
 * only if all clients come through Unix sockets.
 */
function listedMember({ name, listen, httpListen }: Settings, grpcAddress: string, httpAddress: string): MemberInfo {
  const isListed = httpListen.tcp !== undefined || listen.tcp === undefined;
  return isListed ? { name, grpcAddress, httpAddress } : { name, grpcAddress };
}
