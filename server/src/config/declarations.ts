import { hostname } from "node:os";
import { DEFAULT_S3_LISTEN, domains, formatHostPort, hostName, members, orNone } from "./addresses.js";
import { bucketPatterns } from "./bucket-pattern.js";
import { cacheBuckets } from "./cache-buckets.js";
import { cacheDirs } from "./cache-dirs.js";
import { corsOrigins } from "./cors-origins.js";
import { fileMode, listenAddress } from "./listen-address.js";
import { originsFile } from "./origins-file.js";
import { bool, choice, line, type Parser } from "./parser.js";
import { duration, percent, size, whole } from "./quantities.js";

const MiB = 1 << 20;

/** The environment variables of the process. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** One setting: its flag, parser, default and documentation. */
export interface Declaration<T> {
  /** The flag without its dashes. The name of the environment variable is derived from it. */
  readonly flag: string;
  readonly parser: Parser<T>;
  /** The text used if neither a flag nor a variable is set; undefined: the setting then has no value. */
  readonly fallback: (environment: Environment) => string | undefined;
  /** The default as documented. */
  readonly defaultText: string;
  /** What the setting does: one clause without a full stop. */
  readonly text: string;
  /** The flag may be repeated; its values are joined by commas. */
  readonly repeatable?: true;
}

function setting<T>(flag: string, parser: Parser<T>, value: string, text: string): Declaration<T> {
  return { flag, parser, fallback: () => value, defaultText: value, text };
}

function optional<T>(flag: string, parser: Parser<T>, defaultText: string, text: string): Declaration<T | undefined> {
  return { flag, parser, fallback: () => undefined, defaultText, text };
}

/** A list that is given as one text with commas, or by several flags. */
function repeatable<T>(declaration: Declaration<T>): Declaration<T> {
  return { ...declaration, text: `${declaration.text}; separate several by commas or repeat the flag`, repeatable: true };
}

/** Every setting of `serve`, by its name in the Settings object. */
export const declarations = {
  listen: setting(
    "listen",
    listenAddress,
    "[::]:8080",
    "address of the gRPC listener, a Unix socket, or both separated by a comma; [::] accepts IPv4 and IPv6; port 0 picks a free one",
  ),
  httpListen: setting(
    "http-listen",
    listenAddress,
    "[::]:8081",
    "address of the HTTP listener, a Unix socket, or both separated by a comma",
  ),
  s3Listen: optional(
    "s3-listen",
    orNone(listenAddress),
    formatHostPort(DEFAULT_S3_LISTEN),
    "address of the S3 endpoint, a Unix socket, or both; none: no such listener; if this is not set and the port is in use, the member starts without the endpoint",
  ),
  socketMode: setting(
    "socket-mode",
    fileMode,
    "660",
    "permissions of all Unix sockets; a user who may write to a socket may connect to it",
  ),
  s3Domain: repeatable(
    setting("s3-domain", domains, "", "domain whose subdomains are buckets of the S3 endpoint (virtual-host style)"),
  ),
  corsOrigin: repeatable(
    optional("cors-origin", corsOrigins, "the bucket's own rules", "origins of web pages that may read objects by CORS, or *"),
  ),
  cacheDirs: setting(
    "cache-dirs",
    cacheDirs,
    "/tmp/frontcache",
    "cache directories, each with an optional size limit; without one the cache may fill the file system, except --keep-free",
  ),
  name: {
    flag: "name",
    parser: line("name"),
    fallback: (environment) => environment.POD_NAME || hostname(),
    defaultText: "$POD_NAME, else the host name",
    text: "this member's name on the hash ring",
  } satisfies Declaration<string>,
  advertise: {
    flag: "advertise",
    parser: hostName,
    fallback: (environment) => environment.POD_IP || undefined,
    defaultText: "$POD_IP, else the listen host",
    text: "host name or address that other members and clients connect to",
  } as Declaration<string | undefined>,
  discovery: setting(
    "discovery",
    choice("auto", "kubernetes", "static", "none"),
    "auto",
    "how members find each other; auto: static with --members, kubernetes in a pod or with --kubeconfig, otherwise none",
  ),
  members: setting("members", members, "", "static member list, including this member"),
  label: setting("label", line("label selector"), "app=frontcache", "label selector of the member pods"),
  namespace: optional("namespace", line("namespace"), "the pod's own", "Kubernetes namespace of the member pods"),
  kubeconfig: optional("kubeconfig", line("path"), "in-cluster", "kubeconfig file for the Kubernetes API"),
  identity: setting(
    "identity",
    choice("pod", "node"),
    "pod",
    "whether a member is named after its pod or its node; node is for DaemonSets",
  ),
  unreadyGraceMs: setting("unready-grace", duration(0), "10s", "time before a pod that is not ready is removed from the ring"),
  memberTimeoutMs: setting(
    "member-timeout",
    duration(10),
    "1s",
    "time in which another member must accept a connection; a member that sends nothing for half of it is probed, and unreachable if it does not answer in another half",
  ),
  leaveAfterMs: setting(
    "leave-after",
    duration(0),
    "5s",
    "grace period after SIGTERM during which the member reports not-ready but keeps serving; skipped in a single-member cluster",
  ),
  blockBytes: setting(
    "block-size",
    size(MiB),
    "16MiB",
    "unit of ownership and size of block files; must be equal on all members",
  ),
  fill: setting(
    "fill",
    choice("auto", "whole", "wanted"),
    "auto",
    "auto: fetch the requested segments, prefetch the rest of the block when reuse is likely; whole: always; wanted: never",
  ),
  partBytes: setting(
    "part-size",
    size(MiB),
    "4MiB",
    "target size of one origin request, at most --block-size; requests are smaller only if less is missing in a row, and always smaller than twice this size",
  ),
  fillMemoryBytes: setting("fill-memory", size(2 * MiB), "256MiB", "total memory of all running fills"),
  fillParallelism: setting("fill-parallelism", whole(1, 64), "4", "concurrent origin requests per fill"),
  purgeIntervalMs: setting("purge-interval", duration(100), "10s", "interval between two checks of the volumes by the purger"),
  highWatermark: setting("high-watermark", percent, "95", "used share of a volume above which the purger evicts"),
  lowWatermark: setting("low-watermark", percent, "90", "used share of a volume at which the purger stops evicting"),
  keepFree: setting(
    "keep-free",
    percent,
    "15",
    "share of the file system and of its inodes that stays free in cache directories without a size; kubelet evicts pods below 15 by default",
  ),
  eviction: setting("eviction", choice("lru", "slru"), "slru", "eviction policy: lru, or scan-resistant slru"),
  revalidateAfterMs: setting(
    "revalidate-after",
    duration(0, { never: true }),
    "60s",
    "age at which an object's version is checked at the origin again; 0: check on every read; never: keep the first version",
  ),
  negativeTtlMs: setting("negative-ttl", duration(0), "1s", "how long a missing object is remembered; 0: not at all"),
  verdictTtlMs: setting(
    "verdict-ttl",
    duration(0),
    "60s",
    "for identities with origin credentials of their own: how long the origin's decision that such an identity may read an object is used; 0: ask for each read",
  ),
  staleIfError: setting(
    "stale-if-error",
    bool,
    "true",
    "serve cached data if the origin is slow or unreachable when the version must be checked",
  ),
  s3ForcePathStyle: setting(
    "s3-force-path-style",
    bool,
    "false",
    "put the bucket name into the path of S3 requests instead of the host name",
  ),
  origins: optional(
    "origins",
    originsFile,
    "AWS and Google",
    "YAML file with the endpoint, credentials and limits of each bucket",
  ),
  tlsCert: optional(
    "tls-cert",
    line("path"),
    "plain text",
    "certificate chain of this member (PEM); enables TLS on all listeners",
  ),
  tlsKey: optional("tls-key", line("path"), "plain text", "private key of --tls-cert (PEM)"),
  tlsCa: optional(
    "tls-ca",
    line("path"),
    "no client certificates",
    "CA bundle (PEM) used to verify clients and other members; enables mutual TLS",
  ),
  tlsServerName: optional("tls-server-name", hostName, "the member's host", "name expected in the certificates of other members"),
  membersKeyFile: optional(
    "members-key-file",
    line("path"),
    "no key",
    "file of keys shared by all members, one per line; members prove with a key that they are members, and prefer the first",
  ),
  membersName: optional(
    "members-name",
    line("name"),
    "--tls-server-name",
    "with --tls-ca: name in a client certificate (SAN or common name) that identifies another member",
  ),
  authTokenFile: optional(
    "auth-token-file",
    line("path"),
    "no token is required",
    "file of bearer tokens, one per line; clients and members must send one of them, members send the first",
  ),
  identitiesFile: optional(
    "identities-file",
    line("path"),
    "every client may do everything",
    "YAML file of identities, their credentials and grants; everything else is then denied",
  ),
  auditLog: setting(
    "audit-log",
    line("path|log|none"),
    "log",
    "with --identities-file: where denied requests, writes, evictions and changes of grants are recorded, one JSON line each: a file, the log, or nowhere",
  ),
  accessLog: optional(
    "access-log",
    line("path"),
    "none",
    "file with a line for each request about buckets or objects, in the format of S3's server access logs",
  ),
  writes: setting(
    "writes",
    choice("off", "on", "anonymous"),
    "off",
    "whether the S3 endpoint takes requests that change objects; on: from identities with a grant; anonymous: from every client, if there is no --identities-file",
  ),
  teeWritesBytes: setting(
    "tee-writes",
    size(0),
    "64MiB",
    "with --writes: written objects of at most this size are cached while they are sent to the origin, so that the next read needs no origin; also the memory of all such copies together; 0: none",
  ),
  s3ExternalHost: optional(
    "s3-external-host",
    line("host[:port]"),
    "the Host header",
    "host, and port if any, for which S3 clients sign their requests, if a proxy replaces the Host header",
  ),
  sigv2: setting(
    "sigv2",
    bool,
    "false",
    "with --identities-file: accept S3 signatures of version 2, which do not cover the body; otherwise they are refused",
  ),
  maxConnections: setting(
    "max-connections",
    whole(1, 1_000_000),
    "10000",
    "maximum connections to all listeners; further ones are closed",
  ),
  maxClientConnections: setting(
    "max-client-connections",
    whole(1, 1_000_000),
    "4000",
    "maximum connections from one address; further ones are closed",
  ),
  maxReads: setting(
    "max-reads",
    whole(1, 1_000_000),
    "8000",
    "maximum concurrent reads; further ones get RESOURCE_EXHAUSTED or 503 SlowDown",
  ),
  maxClientReads: setting("max-client-reads", whole(1, 1_000_000), "2000", "maximum concurrent reads from one address"),
  slowReaderBytes: setting(
    "slow-reader-memory",
    size(MiB),
    "256MiB",
    "total send-buffer memory; when exceeded, the slowest client is disconnected",
  ),
  overloadMs: setting(
    "overload-after",
    duration(10, { never: true }),
    "1s",
    "event-loop delay above which new reads are rejected",
  ),
  sendfile: setting(
    "sendfile",
    bool,
    "true",
    "let the kernel send cached bytes from their files, and forwarded ones from socket to socket (Linux, connections without TLS); false: write them from memory",
  ),
  allowBucket: repeatable(optional("allow-bucket", bucketPatterns, "all", "buckets that may be read, by name or prefix")),
  cacheBucket: repeatable(
    setting(
      "cache-bucket",
      cacheBuckets,
      "",
      "bucket of values (objects without an origin), with its time to live, its maximum share of each member's volumes, and pin if its values are never evicted: name, name:1h or name:1h:share=20%:pin",
    ),
  ),
  elcacheListen: optional(
    "elcache-listen",
    listenAddress,
    "no such listener",
    "address of a listener with ElCache's REST interface, a Unix socket, or both; it serves the values of the bucket elcache",
  ),
  filestoreListen: optional(
    "filestore-listen",
    listenAddress,
    "no such listener",
    "address of a listener with memcache-filestore's REST interface, a Unix socket, or both; it serves the values of the bucket filestore",
  ),
  replicas: setting("replicas", whole(1, 8), "2", "members that keep each value"),
  originRequests: optional("origin-requests", whole(1, 1_000_000), "unlimited", "maximum requests per second to each origin"),
  originBytes: optional("origin-bytes", size(1), "unlimited", "maximum bytes per second from each origin"),
  originConcurrency: optional("origin-concurrency", whole(1, 100_000), "unlimited", "maximum concurrent requests to each origin"),
  originMaxWaitMs: setting(
    "origin-max-wait",
    duration(0),
    "5s",
    "how long a request waits for the origin limits before the read fails with RESOURCE_EXHAUSTED",
  ),
  hedge: setting(
    "hedge",
    bool,
    "true",
    "send a second request when the first exceeds the p95 latency; adds at most 5 % requests",
  ),
  originClient: setting(
    "origin-client",
    choice("auto", "sdk"),
    "auto",
    "client for GET and HEAD of S3 objects: auto signs requests itself; sdk uses the AWS SDK",
  ),
  forward: setting(
    "forward",
    choice("auto", "http", "grpc"),
    "auto",
    "protocol of reads between members: auto uses HTTP, and gRPC if HTTP fails; http or grpc uses only that one",
  ),
  logLevel: setting("log-level", choice("debug", "info", "warn", "error", "silent"), "info", "minimum level of log lines"),
} as const;

/**
 * The settings of a member, validated as a whole and frozen. Names end with the unit; shares are from 0 to 1;
 * `revalidateAfterMs` is Infinity for `never`.
 */
export type Settings = {
  readonly [Name in keyof typeof declarations]: (typeof declarations)[Name] extends Declaration<infer Value> ? Value : never;
};

/** The names of the settings, in the order of their declaration. */
export const settingNames = Object.keys(declarations) as (keyof typeof declarations)[];

/** The environment variable of a declaration: `FRONTCACHE_` and the flag in capitals with `_`. */
export function variableOf(declaration: { readonly flag: string }): string {
  return `FRONTCACHE_${declaration.flag.toUpperCase().replaceAll("-", "_")}`;
}
