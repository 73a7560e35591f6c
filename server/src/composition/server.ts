import { connectMembers, HttpObjectRequests } from "@frontcache/client/members";
import { DEFAULT_GEOMETRY, type MemberInfo, socketAddressOf, VALUE_CALLS_PATH } from "@frontcache/proto";
import { sleep } from "@frontcache/proto/runtime";
import { StatusPages } from "../api/admin/status-pages.js";
import { authorized } from "../api/authorized-cache.js";
import { authorizedValues } from "../api/authorized-values.js";
import { elCacheSite } from "../api/elcache/elcache-site.js";
import { filestoreSite, MAX_FILE_BYTES } from "../api/filestore/filestore-site.js";
import { GrpcListener } from "../api/grpc/grpc-listener.js";
import { HttpListener, type HttpListenerOptions } from "../api/http/http-listener.js";
import { textPage } from "../api/http/pages.js";
import type { Site } from "../api/http/site.js";
import { Clients } from "../api/limits/clients.js";
import { measured } from "../api/measured-cache.js";
import { accessLogged } from "../api/s3/access-log.js";
import { Cors, type CorsOrigins } from "../api/s3/cors.js";
import { beside, objectSite } from "../api/s3/object-site.js";
import type { Addressing, StoreOfBucket } from "../api/s3/request-target.js";
import { KernelSendBuffers } from "../api/sending/kernel-send-buffers.js";
import { memberCalls } from "../api/values/member-calls.js";
import { VALUES_PATH, valueApi } from "../api/values/value-api.js";
import { withValues } from "../api/values/values-cache.js";
import { DEFAULT_S3_LISTEN, formatHostPort } from "../config/addresses.js";
import { covers } from "../config/bucket-pattern.js";
import { ELCACHE_BUCKET, FILESTORE_BUCKET } from "../config/constraints.js";
import type { ListenAddress } from "../config/listen-address.js";
import { type Settings, SettingsError } from "../config/settings.js";
import { firstMembership } from "../membership/member-source.js";
import { PROMETHEUS_TEXT } from "../metrics/prometheus.js";
import { accessOf } from "../routing/member-access.js";
import { valueMembers } from "../routing/member-values.js";
import { systemClock } from "../runtime/clock.js";
import type { Log } from "../runtime/log.js";
import { Opened } from "../runtime/opened.js";
import { LineFile } from "../security/audit/line-file.js";
import { MemberSecurity } from "../security/member-security.js";
import { loadLibc } from "../storage/mapping/libc.js";
import type { ReplicatedValues } from "../values/replicated-values.js";
import type { ValueService } from "../values/value-service.js";
import type { Values } from "../values/values.js";
import { composeMember, type MemberParts } from "./compose-member.js";
import { MemberMetrics } from "./member-metrics.js";
import { loadSdks } from "./open-origins.js";
import { discoveryOf, observeOrigins, openMembers, openOrigin, openStore, openValues } from "./open-ports.js";

/** Maximum time for running calls to finish. Together with `--leave-after` it fits into the 30 s that Kubernetes grants by default. */
const DRAIN_MS = 20_000;

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
export interface RunningServer {
  /** `host:port` of its gRPC listener, for clients and other members; `unix:/path` if it has only a Unix socket. */
  readonly grpcAddress: string;
  /** The same of its HTTP listener. */
  readonly httpAddress: string;
  /** The same of its S3 endpoint; undefined if the member has none. */
  readonly s3Address: string | undefined;
  /** The same of its listeners with interfaces of other systems. */
  readonly elcacheAddress: string | undefined;
  readonly filestoreAddress: string | undefined;
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
 * components and passes them to each other. Rejects if an address or a cache directory cannot be used, or with the reason of
 * `signal`; all resources are then released.
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
  const { listen, socketMode } = settings;
  const grpcListener = await GrpcListener.open({ listen, socketMode, drainMs: DRAIN_MS, security, clients, clock, log });
  opened.addListener(() => grpcListener.close());
  const cors = new Cors(corsOriginsOf(settings));
  const accessLog = openAccessLog(settings, log);
  opened.add(async () => accessLog?.close());
  const libc = settings.sendfile ? await loadLibc() : undefined;
  const socketCalls = libc && { ...libc, sendBuffers: await KernelSendBuffers.open(libc) };
  const isWritable = settings.writes !== "off";
  const writes = isWritable || settings.cacheBucket.length > 0;
  const listening = {
    socketMode,
    writes,
    drainMs: DRAIN_MS,
    notReadyReasons: () => [],
    security,
    socketCalls,
    clients,
    clock,
    log,
  };
  let clientValues: Values | undefined;
  let values: ReplicatedValues | undefined;
  const site = siteOf({ form: "prefixed", storeOf: valueBucketsOf(settings) }, cors, accessLog);
  const httpListener = await HttpListener.open({
    ...listening,
    listen: settings.httpListen,
    name: "http",
    site:
      settings.cacheBucket.length === 0
        ? site
        : valuesBeside(
            site,
            () => clientValues,
            () => values?.service,
          ),
    pages: new Map([...status.pages, ["/metrics", textPage(PROMETHEUS_TEXT, () => metrics.text())]]),
  });
  opened.addListener(() => httpListener.close());
  const s3Listener = await openS3Listener(settings, cors, accessLog, listening);
  if (s3Listener !== undefined) opened.addListener(() => s3Listener.close());
  const valueListeners = await openValueListeners(settings, listening, opened, status);
  const grpcAddress = addressToReach(settings, listen, grpcListener);
  const httpAddress = addressToReach(settings, settings.httpListen, httpListener);
  const self = listedMember(settings, grpcAddress, httpAddress);
  const ports = { grpc: portOf(listen, grpcListener), http: portOf(settings.httpListen, httpListener) };
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
  const connections = connectMembers({
    ...reachedBy,
    transport: settings.forward,
    windowBytes: MEMBER_WINDOW_BYTES,
    probesEarly: true,
    onHttpChange: httpChanged(log),
  });
  const originStates = observeOrigins(log);
  const origin = openOrigin(settings, metrics.origin, log, originStates, security.originAccesses);
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
    teeWritesBytes: writes ? settings.teeWritesBytes : undefined,
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
  values = await openValues(settings, { members: valueMembers(member.others, requests), store, geometry, log });
  opened.add(async () => values?.close());
  clientValues = values && authorizedValues(security.authorization)(values);
  const others = () => member.view.known().filter(({ name }) => name !== self.name);
  if (discoveryOf(settings) !== "none") security.followMembers(others);
  security.onRenewal(() => connections.renew());
  members.subscribe((list) => {
    member.update(list);
    security.membersChanged();
  });

  await metrics.export(process.env, log);
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
    listeners: { grpc: grpcListener, http: httpListener, ...(s3Listener && { s3: s3Listener }), ...valueListeners },
    clients,
    security,
  });
  status.watch({ store, view, members, notReady: () => httpListener.notReadyReasons() });
  const whole = values === undefined ? member.cache : withValues(values, isWritable)(member.cache);
  const cache = measured(metrics.reads)(authorized(security.authorization)(whole));
  grpcListener.serve({ cache, members: router, objects, values: values?.service, clientValues });
  httpListener.serve(cache);
  s3Listener?.serve(cache);
  if (clientValues !== undefined) for (const listener of Object.values(valueListeners)) listener.serve(clientValues);
  const { name } = self;
  const s3Address = s3Listener && addressToReach(settings, s3AddressOf(settings), s3Listener);
  const { elcacheListen = {}, filestoreListen = {} } = settings;
  const { elcache, filestore } = valueListeners;
  const elcacheAddress = elcache && addressToReach(settings, elcacheListen, elcache);
  const filestoreAddress = filestore && addressToReach(settings, filestoreListen, filestore);
  const sockets = [listen, settings.httpListen, s3AddressOf(settings), elcacheListen, filestoreListen].flatMap(
    ({ socketPath = [] }) => socketPath,
  );
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
    grpcListener.announceShutdown();
    httpListener.announceShutdown();
    s3Listener?.announceShutdown();
    for (const listener of Object.values(valueListeners)) listener.announceShutdown();
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

/** The configured pages per bucket: those of its origin in the origins file, else those of the settings. */
function corsOriginsOf({ origins = [], corsOrigin }: Settings): CorsOrigins {
  return (bucket) => origins.find(({ buckets }) => buckets.some((each) => covers(each, bucket)))?.corsOrigins ?? corsOrigin;
}

/** A site with the interfaces to values of clients and of other members. */
function valuesBeside(site: Site, served: () => Values | undefined, service: () => ValueService | undefined): Site {
  const withValues = beside(site, { prefix: VALUES_PATH, site: valueApi(), served });
  return beside(withValues, { prefix: VALUE_CALLS_PATH, site: memberCalls(), served: service });
}

/** Names the store of each bucket under `/s3`: those of values hide S3's of the same name. Undefined: all are S3's. */
function valueBucketsOf({ cacheBucket }: Settings): StoreOfBucket | undefined {
  const names = new Set(cacheBucket.map(({ name }) => name));
  return names.size === 0 ? undefined : (bucket) => (names.has(bucket) ? "cache" : "s3");
}

/**
 * Names the store of each bucket at the S3 endpoint: values, or the first origin that serves buckets there and matches. Undefined: all
 * are S3's.
 */
function storesAtS3Endpoint(settings: Settings): StoreOfBucket | undefined {
  const valuesFirst = valueBucketsOf(settings);
  const serving = (settings.origins ?? []).filter((rule) => rule.scheme === "s3" || rule.atS3Endpoint);
  if (serving.every(({ scheme }) => scheme === "s3")) return valuesFirst;
  return (bucket) => {
    if (valuesFirst?.(bucket) === "cache") return "cache";
    return serving.find(({ scheme, buckets }) => buckets.some((pattern) => covers(pattern, { scheme, bucket })))?.scheme ?? "s3";
  };
}

/**
 * Opens the S3 endpoint. Without `--s3-listen`, another program may use the port: several members run on one host in development, and
 * none of them needs this listener to work.
 */
async function openS3Listener(
  settings: Settings,
  cors: Cors,
  accessLog: LineFile | undefined,
  options: Omit<HttpListenerOptions, "listen" | "name" | "site" | "pages">,
): Promise<HttpListener | undefined> {
  const { s3Listen, s3Domain } = settings;
  if (s3Listen === "none") return undefined;
  const site = siteOf({ form: "root", domains: s3Domain, storeOf: storesAtS3Endpoint(settings) }, cors, accessLog);
  try {
    return await HttpListener.open({ ...options, listen: s3AddressOf(settings), name: "s3", site, pages: new Map() });
  } catch (error) {
    if (s3Listen !== undefined || (error as NodeJS.ErrnoException).code !== "EADDRINUSE") throw error;
    const text = `${formatHostPort(DEFAULT_S3_LISTEN)} is in use: this member has no S3 endpoint at the root; set --s3-listen`;
    options.log.warn({ event: "s3-listener-skipped" }, text);
    return undefined;
  }
}

/** The listeners with interfaces of other systems to values. */
type ValueListeners = Partial<Record<"elcache" | "filestore", HttpListener<Values>>>;

async function openValueListeners(
  { elcacheListen, filestoreListen, ...settings }: Settings,
  options: Omit<HttpListenerOptions<Values>, "listen" | "name" | "site" | "pages">,
  opened: Opened,
  status: StatusPages,
): Promise<ValueListeners> {
  const open = async (name: keyof ValueListeners, listen: ListenAddress, site: Site<Values>): Promise<HttpListener<Values>> => {
    const listener = await HttpListener.open<Values>({ ...options, listen, name, site, pages: new Map() });
    opened.addListener(() => listener.close());
    return listener;
  };
  const listeners: ValueListeners = {};
  if (elcacheListen !== undefined) {
    const isAlone = discoveryOf({ elcacheListen, filestoreListen, ...settings }) === "none";
    const cluster = isAlone ? undefined : () => status.cluster();
    listeners.elcache = await open(
      "elcache",
      elcacheListen,
      elCacheSite({ bucket: ELCACHE_BUCKET, clock: options.clock, cluster }),
    );
  }
  if (filestoreListen !== undefined) {
    const site = filestoreSite({ bucket: FILESTORE_BUCKET, maxFileBytes: MAX_FILE_BYTES });
    listeners.filestore = await open("filestore", filestoreListen, site);
  }
  return listeners;
}

/** The objects at one listener, whose requests are logged if that is configured. */
function siteOf(addressing: Addressing, cors: Cors, accessLog: LineFile | undefined): Site {
  const site = objectSite(addressing, cors);
  return accessLog === undefined ? site : accessLogged(site, addressing, accessLog.writeText);
}

function openAccessLog({ accessLog: path }: Settings, log: Log): LineFile | undefined {
  if (path === undefined) return undefined;
  return new LineFile(path, ({ message }, lines) =>
    log.error({ event: "access-log-failed", path, lines }, `cannot write lines of the access log: ${message}`),
  );
}

/** Where the S3 endpoint listens; absent: nowhere. */
function s3AddressOf({ s3Listen = { tcp: DEFAULT_S3_LISTEN } }: Settings): ListenAddress {
  return s3Listen === "none" ? {} : s3Listen;
}

/** Logs when another member becomes unreachable, and when it answers again. */
function memberChanged(log: Log): (member: MemberInfo, isReachable: boolean) => void {
  return ({ name, grpcAddress: grpc, httpAddress: http }, isReachable) => {
    if (isReachable) log.info({ event: "member-reachable", member: name, grpc, http }, "another member can be reached again");
    else log.warn({ event: "member-unreachable", member: name, grpc, http }, "cannot reach another member");
  };
}

/** Logs a line when the HTTP listener of another member fails, and when it answers again. */
function httpChanged(log: Log): (http: string, isReachable: boolean) => void {
  return (http, isReachable) => {
    if (isReachable) log.info({ event: "member-http-reachable", http }, "the HTTP listener of another member answers again");
    else log.warn({ event: "member-http-unreachable", http }, "cannot read from another member over HTTP: reads use gRPC");
  };
}

function closeFailed(log: Log): (error: unknown) => void {
  return (error) => log.error({ event: "close-failed", err: error }, "cannot close a component of the member");
}

/** Returns the address to advertise. Nobody can connect to an unspecified address, so loopback replaces it; `[::]` accepts IPv4, too. */
function addressToReach(
  { advertise }: Settings,
  { tcp, socketPath = "" }: ListenAddress,
  listener: Pick<HttpListener, "address">,
): string {
  if (tcp === undefined) return socketAddressOf(socketPath);
  const { host, port } = listener.address;
  const loopback: Record<string, string> = { "0.0.0.0": "127.0.0.1", "::": "127.0.0.1" };
  return formatHostPort({ host: advertise ?? loopback[host] ?? host, port });
}

/**
 * The entry of this member in the member list. Clients on other hosts cannot use the Unix socket of an HTTP listener, so it is listed
 * only if all clients come through Unix sockets.
 */
function listedMember({ name, listen, httpListen }: Settings, grpcAddress: string, httpAddress: string): MemberInfo {
  const isListed = httpListen.tcp !== undefined || listen.tcp === undefined;
  return isListed ? { name, grpcAddress, httpAddress } : { name, grpcAddress };
}

/** The TCP port of a listener; 0 if it has only a Unix socket. */
function portOf({ tcp }: ListenAddress, listener: Pick<HttpListener, "address">): number {
  return tcp === undefined ? 0 : listener.address.port;
}
