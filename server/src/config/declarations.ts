import { hostname } from "node:os";
import { hostName, listenAddress, members } from "./addresses.js";
import { bucketPatterns } from "./bucket-pattern.js";
import { cacheDirs } from "./cache-dirs.js";
import { originsFile } from "./origins-file.js";
import { bool, choice, line, type Parser } from "./parser.js";
import { duration, percent, size, whole } from "./quantities.js";

const MiB = 1 << 20;

/** What the process was started with. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** One setting: everything that is known of it stands here and nowhere else. */
export interface Declaration<T> {
  /** The flag without its dashes. The environment variable is made from it. */
  readonly flag: string;
  readonly parser: Parser<T>;
  /** The text that holds where neither flag nor environment give one; undefined: the setting has no value then. */
  readonly fallback: (environment: Environment) => string | undefined;
  /** The default as the documentation says it. */
  readonly defaultText: string;
  /** What it does, as one clause without a full stop. */
  readonly text: string;
  /** The flag may be given several times; its texts are joined by commas. */
  readonly repeatable?: true;
}

function setting<T>(flag: string, parser: Parser<T>, value: string, text: string): Declaration<T> {
  return { flag, parser, fallback: () => value, defaultText: value, text };
}

function optional<T>(flag: string, parser: Parser<T>, defaultText: string, text: string): Declaration<T | undefined> {
  return { flag, parser, fallback: () => undefined, defaultText, text };
}

/** Every setting of `serve`, by its name in the Settings object. */
export const declarations = {
  listen: setting("listen", listenAddress, "0.0.0.0:8080", "address of the gRPC listener; port 0 picks a free one"),
  httpListen: setting("http-listen", listenAddress, "0.0.0.0:8081", "address of the HTTP gateway; port 0 picks a free one"),
  cacheDirs: setting("cache-dirs", cacheDirs, "/tmp/frontcache", "cache directories, each with an optional budget of bytes"),
  name: {
    flag: "name",
    parser: line("name"),
    fallback: (environment) => environment.POD_NAME || hostname(),
    defaultText: "$POD_NAME, else the host's name",
    text: "this member's name on the ring",
  } satisfies Declaration<string>,
  advertise: {
    flag: "advertise",
    parser: hostName,
    fallback: (environment) => environment.POD_IP || undefined,
    defaultText: "$POD_IP, else the listen host",
    text: "the host that others reach this member by",
  } as Declaration<string | undefined>,
  discovery: setting(
    "discovery",
    choice("auto", "kubernetes", "static", "none"),
    "auto",
    "how members find each other; auto: static with --members, kubernetes inside a pod or with --kubeconfig, else none",
  ),
  members: setting("members", members, "", "the static member list"),
  label: setting("label", line("label selector"), "app=frontcache", "label selector of the pods that are members"),
  namespace: optional("namespace", line("namespace"), "the pod's own", "Kubernetes namespace of the members"),
  kubeconfig: optional("kubeconfig", line("path"), "in-cluster", "kubeconfig file to reach the Kubernetes API by"),
  identity: setting("identity", choice("pod", "node"), "pod", "what a member is named by on the ring; node is for DaemonSets"),
  unreadyGraceMs: setting("unready-grace", duration(0), "10s", "how long a pod that turned not ready stays a member"),
  leaveAfterMs: setting(
    "leave-after",
    duration(0),
    "5s",
    "how long a member that was told to stop goes on answering, not ready, while others take over what it holds; alone: not at all",
  ),
  blockBytes: setting("block-size", size(MiB), "16MiB", "unit of ownership and of block files; the same for all members"),
  fill: setting(
    "fill",
    choice("auto", "whole", "wanted"),
    "auto",
    "which segments a miss fetches: the wanted ones, and the rest of the block when it proves worth it, always or never",
  ),
  partBytes: setting(
    "part-size",
    size(MiB),
    "4MiB",
    "bytes that one origin request fetches, where so much is missing in a row; never twice as many",
  ),
  fillMemoryBytes: setting("fill-memory", size(2 * MiB), "256MiB", "memory of all running fills together"),
  fillParallelism: setting("fill-parallelism", whole(1, 64), "4", "origin requests of one fill at a time"),
  purgeIntervalMs: setting("purge-interval", duration(100), "10s", "how often the purger looks at the volumes"),
  highWatermark: setting("high-watermark", percent, "95", "used share of a volume over which the purger evicts"),
  lowWatermark: setting("low-watermark", percent, "90", "used share of a volume down to which the purger evicts"),
  eviction: setting(
    "eviction",
    choice("lru", "slru"),
    "slru",
    "what is evicted first: what was not used for longest, or with slru what was used only once, so that one large scan costs others nothing",
  ),
  revalidateAfterMs: setting(
    "revalidate-after",
    duration(0, { never: true }),
    "60s",
    "how long an object's current version is trusted; 0 always asks the origin, never trusts the first answer",
  ),
  negativeTtlMs: setting("negative-ttl", duration(0), "1s", "how long a missing object is remembered; 0 forgets at once"),
  staleIfError: setting("stale-if-error", bool, "true", "serve what is held when the origin can't be asked for the version"),
  s3ForcePathStyle: setting(
    "s3-force-path-style",
    bool,
    "false",
    "put the bucket into the path of S3 requests, not into the host",
  ),
  origins: optional(
    "origins",
    originsFile,
    "AWS and Google",
    "a file (YAML) that says of each bucket where it is and how to reach it",
  ),
  tlsCert: optional(
    "tls-cert",
    line("path"),
    "plain text",
    "file of this member's certificate chain (PEM): both listeners speak TLS",
  ),
  tlsKey: optional("tls-key", line("path"), "plain text", "file of the key to --tls-cert (PEM)"),
  tlsCa: optional(
    "tls-ca",
    line("path"),
    "no client certificates",
    "file of the authorities (PEM) whose certificates clients and members must show: mutual TLS; members check each other by it",
  ),
  tlsServerName: optional("tls-server-name", hostName, "the member's host", "the name that other members' certificates carry"),
  authTokenFile: optional(
    "auth-token-file",
    line("path"),
    "no token is asked for",
    "file of the tokens, one a line, of which clients and members must show one; members show the first",
  ),
  maxConnections: setting(
    "max-connections",
    whole(1, 1_000_000),
    "10000",
    "connections to both listeners; further ones are closed",
  ),
  maxClientConnections: setting(
    "max-client-connections",
    whole(1, 1_000_000),
    "4000",
    "connections from one address; further ones are closed",
  ),
  maxReads: setting(
    "max-reads",
    whole(1, 1_000_000),
    "8000",
    "reads that run at a time; further ones get RESOURCE_EXHAUSTED or 503 SlowDown",
  ),
  maxClientReads: setting("max-client-reads", whole(1, 1_000_000), "2000", "reads from one address that run at a time"),
  slowReaderBytes: setting(
    "slow-reader-memory",
    size(MiB),
    "256MiB",
    "memory in which bytes wait for readers; when it is full, the slowest reader is cut off",
  ),
  overloadMs: setting(
    "overload-after",
    duration(10, { never: true }),
    "1s",
    "how late the member may be with everything before it refuses new reads",
  ),
  allowBucket: {
    ...optional(
      "allow-bucket",
      bucketPatterns,
      "all",
      "the only buckets whose objects are served, by name or beginning; several by commas, or by several flags",
    ),
    repeatable: true as const,
  },
  originRequests: optional(
    "origin-requests",
    whole(1, 1_000_000),
    "unlimited",
    "requests a second that each origin gets from this member",
  ),
  originBytes: optional("origin-bytes", size(1), "unlimited", "bytes a second that this member takes from each origin"),
  originConcurrency: optional(
    "origin-concurrency",
    whole(1, 100_000),
    "unlimited",
    "answers of each origin on their way at a time",
  ),
  originMaxWaitMs: setting(
    "origin-max-wait",
    duration(0),
    "5s",
    "how long a request waits for these limits before the read fails with RESOURCE_EXHAUSTED",
  ),
  hedge: setting(
    "hedge",
    bool,
    "true",
    "ask an origin twice where it takes longer than for 95 % of the recent requests; at most 5 % more requests",
  ),
  logLevel: setting("log-level", choice("debug", "info", "warn", "error", "silent"), "info", "least level of log lines"),
} as const;

/**
 * What a member runs by, validated as a whole and frozen. Units are in the names; shares are from 0 to 1;
 * `revalidateAfterMs` is Infinity for `never`.
 */
export type Settings = {
  readonly [Name in keyof typeof declarations]: (typeof declarations)[Name] extends Declaration<infer Value> ? Value : never;
};

/** The names of the settings, in the order of their declaration. */
export const settingNames = Object.keys(declarations) as (keyof typeof declarations)[];

/** A declaration's environment variable: `FRONTCACHE_` and the flag in capitals with `_`. */
export function variableOf(declaration: { readonly flag: string }): string {
  return `FRONTCACHE_${declaration.flag.toUpperCase().replaceAll("-", "_")}`;
}
