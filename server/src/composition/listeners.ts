import { socketAddressOf, VALUE_CALLS_PATH } from "@frontcache/proto";
import type { StatusPages } from "../api/admin/status-pages.js";
import { elCacheSite } from "../api/elcache/elcache-site.js";
import { filestoreSite, MAX_FILE_BYTES } from "../api/filestore/filestore-site.js";
import { GrpcListener, type Serving } from "../api/grpc/grpc-listener.js";
import { HttpListener, type HttpListenerOptions } from "../api/http/http-listener.js";
import { textPage } from "../api/http/pages.js";
import type { Site } from "../api/http/site.js";
import type { Clients } from "../api/limits/clients.js";
import { beside } from "../api/s3/object-site.js";
import { KernelSendBuffers } from "../api/sending/kernel-send-buffers.js";
import { memberCalls } from "../api/values/member-calls.js";
import { VALUES_PATH, valueApi } from "../api/values/value-api.js";
import { DEFAULT_S3_LISTEN, formatHostPort } from "../config/addresses.js";
import { ELCACHE_BUCKET, FILESTORE_BUCKET } from "../config/constraints.js";
import type { ListenAddress } from "../config/listen-address.js";
import type { Settings } from "../config/settings.js";
import { PROMETHEUS_TEXT } from "../metrics/prometheus.js";
import type { Clock } from "../runtime/clock.js";
import type { Log } from "../runtime/log.js";
import type { Opened } from "../runtime/opened.js";
import type { Security } from "../security/member-security.js";
import type { Libc } from "../storage/mapping/libc.js";
import type { Values } from "../values/values.js";
import { objectSites } from "./object-sites.js";
import { discoveryOf } from "./open-ports.js";

/** Maximum time for running calls to finish. Together with `--leave-after` it fits into the 30 s that Kubernetes grants by default. */
const DRAIN_MS = 20_000;

/** What the listeners share. */
export interface ListenersOptions {
  readonly settings: Settings;
  readonly status: StatusPages;
  /** The metrics in the text format of Prometheus. */
  readonly metricsText: () => string;
  readonly security: Security;
  readonly clients: Clients;
  /** Undefined: without sendfile. */
  readonly libc: Libc | undefined;
  readonly clock: Clock;
  readonly log: Log;
}

/** The addresses where a member can be reached, each `host:port`, or `unix:/path` if the listener has only a Unix socket. */
export interface ListenerAddresses {
  /** Of the gRPC listener, for clients and other members. */
  readonly grpcAddress: string;
  readonly httpAddress: string;
  /** Undefined if the member has no S3 endpoint. */
  readonly s3Address: string | undefined;
  /** Of the listeners with interfaces of other systems. */
  readonly elcacheAddress: string | undefined;
  readonly filestoreAddress: string | undefined;
}

type SharedOptions = Omit<HttpListenerOptions, "listen" | "name" | "site" | "pages">;

/** The listeners with interfaces of other systems to values. */
type ValueListeners = Partial<Record<"elcache" | "filestore", HttpListener<Values>>>;

/** The listeners of a member. They answer "not ready" until they have something to serve. */
export interface Listeners extends ListenerAddresses {
  /** Each listener that the member has, by its name in metrics. */
  readonly byName: { readonly grpc: GrpcListener; readonly http: HttpListener; readonly s3?: HttpListener } & ValueListeners;
  /** The TCP ports that other members use; 0 for a listener that has only a Unix socket. */
  readonly ports: { readonly grpc: number; readonly http: number };
  /** The paths of the Unix sockets. */
  readonly sockets: readonly string[];
  /** Starts serving. */
  serve(serving: Serving): void;
  /** Reports not-ready at each listener, and keeps answering. */
  announceShutdown(): void;
}

/** Opens the listeners that the settings name. Rejects with the system's error if an address cannot be listened on. */
export async function openListeners(options: ListenersOptions, opened: Opened): Promise<Listeners> {
  const { settings, status, metricsText, security, clients, libc, clock, log } = options;
  const { listen, httpListen, elcacheListen = {}, filestoreListen = {}, socketMode, cacheBucket } = settings;
  const { socketPath: httpSocket } = httpListen;
  const grpc = await GrpcListener.open({ listen, socketMode, httpSocket, drainMs: DRAIN_MS, security, clients, clock, log });
  opened.addListener(() => grpc.close());
  const sites = objectSites(settings, log, opened);
  const shared: SharedOptions = {
    socketMode,
    writes: settings.writes !== "off" || cacheBucket.length > 0,
    drainMs: DRAIN_MS,
    notReadyReasons: () => [],
    security,
    socketCalls: libc && { ...libc, sendBuffers: await KernelSendBuffers.open(libc) },
    clients,
    clock,
    log,
  };
  let served: Partial<Serving> = {};
  const http = await HttpListener.open({
    ...shared,
    listen: httpListen,
    name: "http",
    site: cacheBucket.length === 0 ? sites.prefixed : valuesBeside(sites.prefixed, () => served),
    pages: new Map([...status.pages, ["/metrics", textPage(PROMETHEUS_TEXT, metricsText)]]),
  });
  opened.addListener(() => http.close());
  const s3 = await openS3Listener(settings, sites.root, shared);
  if (s3 !== undefined) opened.addListener(() => s3.close());
  const forValues = await openValueListeners(settings, shared, opened, status);
  const { elcache, filestore } = forValues;
  const addressOf = (at: ListenAddress, listener: Pick<HttpListener, "address">): string =>
    addressToReach(settings, at, listener);
  return {
    grpcAddress: addressOf(listen, grpc),
    httpAddress: addressOf(httpListen, http),
    s3Address: s3 && addressOf(s3AddressOf(settings), s3),
    elcacheAddress: elcache && addressOf(elcacheListen, elcache),
    filestoreAddress: filestore && addressOf(filestoreListen, filestore),
    byName: { grpc, http, ...(s3 && { s3 }), ...forValues },
    ports: { grpc: portOf(listen, grpc), http: portOf(httpListen, http) },
    sockets: [listen, httpListen, s3AddressOf(settings), elcacheListen, filestoreListen].flatMap(
      ({ socketPath = [] }) => socketPath,
    ),
    serve(serving) {
      served = serving;
      const { cache, clientValues } = serving;
      grpc.serve(serving);
      http.serve(cache);
      s3?.serve(cache);
      if (clientValues !== undefined) for (const listener of Object.values(forValues)) listener.serve(clientValues);
    },
    announceShutdown() {
      for (const listener of [grpc, http, s3, ...Object.values(forValues)]) listener?.announceShutdown();
    },
  };
}

/** A site with the interfaces to values of clients and of other members. */
function valuesBeside(site: Site, served: () => Pick<Partial<Serving>, "values" | "clientValues">): Site {
  const forClients = beside(site, { prefix: VALUES_PATH, site: valueApi(), served: () => served().clientValues });
  return beside(forClients, { prefix: VALUE_CALLS_PATH, site: memberCalls(), served: () => served().values });
}

/**
 * Opens the S3 endpoint. Without `--s3-listen`, another program may use the port: several members run on one host in development, and
 * none of them needs this listener to work.
 */
async function openS3Listener(settings: Settings, site: Site, options: SharedOptions): Promise<HttpListener | undefined> {
  const { s3Listen } = settings;
  if (s3Listen === "none") return undefined;
  try {
    return await HttpListener.open({ ...options, listen: s3AddressOf(settings), name: "s3", site, pages: new Map() });
  } catch (error) {
    if (s3Listen !== undefined || (error as NodeJS.ErrnoException).code !== "EADDRINUSE") throw error;
    const text = `${formatHostPort(DEFAULT_S3_LISTEN)} is in use: this member has no S3 endpoint at the root; set --s3-listen`;
    options.log.warn({ event: "s3-listener-skipped" }, text);
    return undefined;
  }
}

async function openValueListeners(
  { elcacheListen, filestoreListen, ...settings }: Settings,
  options: SharedOptions,
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

/** Where the S3 endpoint listens; absent: nowhere. */
function s3AddressOf({ s3Listen = { tcp: DEFAULT_S3_LISTEN } }: Settings): ListenAddress {
  return s3Listen === "none" ? {} : s3Listen;
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

/** The TCP port of a listener; 0 if it has only a Unix socket. */
function portOf({ tcp }: ListenAddress, listener: Pick<HttpListener, "address">): number {
  return tcp === undefined ? 0 : listener.address.port;
}
