import { CacheError, isListenerAddress, versionOfEntityTag } from "@frontcache/proto";
import { checkOptions, checkText } from "./argument-types.js";
import type { Log } from "./client-log.js";
import type { FallbackOptions } from "./fallback/fallback.js";
import { type Access, accessOf, type TlsOptions } from "./members/access.js";
import type { CredentialOptions } from "./members/credentials.js";
import type { NearDiskLimits } from "./near/disk/near-disk.js";
import { PAGE_BYTES } from "./near/page-memory.js";

/** Options of `CacheClient.connect`. Only `endpoint` is required. */
export interface ConnectOptions extends CredentialOptions {
  /**
   * `host:port` of any member's gRPC listener, or of the Service in front of them. Of several, the next is tried if one does not
   * answer. A name may have several addresses; it is resolved again for each connection. `unix:/path` is the Unix socket of a member
   * on this host.
   */
  readonly endpoint: string | readonly string[];
  /** Protocol of reads. Default `auto`: HTTP if the member has an HTTP listener that answers, otherwise gRPC. */
  readonly transport?: "auto" | "http" | "grpc" | undefined;
  /** Milliseconds before a call fails with DEADLINE_EXCEEDED; for `stream`, of each block's read. Default 30,000. */
  readonly deadlineMs?: number | undefined;
  /** Blocks that one `readRange` reads concurrently. Default 8. */
  readonly parallelBlocks?: number | undefined;
  /** Blocks that one `stream` reads concurrently and keeps in memory, including the block that is being consumed. Default 6. */
  readonly streamBlocks?: number | undefined;
  /**
   * Time in which a member must accept a connection before the next member is tried, milliseconds. A member that sends nothing for
   * half of it is probed, and must answer in as much. Default 1,000.
   */
  readonly connectTimeoutMs?: number | undefined;
  /** Maximum attempts to read one block, counted over all members. Default 6. */
  readonly attempts?: number | undefined;
  /**
   * Paths of the cache directories of members on this host, for example of a volume mounted read-only. Reads that name a version
   * read the blocks cached there from their files, without a socket. If the disk hangs, a read with `into` ends only when the
   * disk answers, even after its deadline. Default: none.
   */
  readonly localVolumes?: readonly string[] | undefined;
  /**
   * Keeps recently read bytes in this process, and on a local disk. Reads of a version that are cached here need no request. Other
   * reads learn from the cluster which version is current, and need no question while the lease of the answer is valid: a fifth of a
   * second. Until then no member answers with a newer version, so a change of an object that is being read takes as much longer.
   * Streams return bytes of a block when all of them are read; the first MiB comes before. Default: none.
   *
   * @example { memory: "256MiB", disk: "/var/cache/app:10GiB" }
   */
  readonly near?: NearOptions | undefined;
  /**
   * The object stores' own clients, which are asked if no member answers. Then an outage of the cache costs latency, not
   * availability, also at the start: `connect` succeeds without a member.
   *
   * @example { s3: new S3({ region: "eu-central-1" }), gcs: new Storage() }
   */
  readonly fallback?: FallbackOptions | undefined;
  /**
   * `connect` does not wait for a member. Calls wait until one answers, up to their deadline, so the cache may start after its
   * clients. Default false.
   */
  readonly lazy?: boolean | undefined;
  /** Receives log entries, for example of members that become unreachable. It must not throw. Default: nothing is logged. */
  readonly log?: Log | undefined;
  /** Enables TLS for both protocols. A function is called for each new connection. Default: plain text. */
  readonly tls?: TlsOptions | (() => TlsOptions) | undefined;
  /** Aborts only the initial connect, with CANCELLED, or DEADLINE_EXCEEDED for a timeout signal. */
  readonly signal?: AbortSignal | undefined;
}

/** Where the near cache keeps bytes, and how many. At least one of both. */
export interface NearOptions {
  /** Bytes in memory, as a number or as text: `"256MiB"`. At least 64 KiB. The memory is outside the JavaScript heap. */
  readonly memory?: number | string | undefined;
  /**
   * Directory and bytes on a local disk. At least 64 MiB. Processes that share the directory read what any of them has read, and the
   * limit is of all of them together. Use one directory per cluster.
   *
   * @example "/var/cache/app:10GiB"
   */
  readonly disk?: string | undefined;
}

/** Options of each call. */
export interface CallOptions {
  /** Aborts the call and all its requests, with CANCELLED, or DEADLINE_EXCEEDED for a timeout signal. */
  readonly signal?: AbortSignal | undefined;
  /** Overrides the client's `deadlineMs`. */
  readonly deadlineMs?: number | undefined;
}

/** Options of `readRange`. */
export interface ReadOptions extends CallOptions {
  /**
   * Buffer of at least `length` bytes that receives the result, instead of a new one. Allocating a fresh buffer costs several
   * times more than the transfer itself. Do not use the buffer before the read settles. After an error its contents are
   * undefined.
   */
  readonly into?: Uint8Array | undefined;
}

/** Options of `stream`. */
export interface StreamOptions extends CallOptions {
  /**
   * Reuse buffers: a chunk is valid only until the next one is requested, as `for await` does. Default false: chunks stay valid.
   */
  readonly reuse?: boolean | undefined;
}

/** Defaults of the client's options. */
export const clientDefaults = {
  transport: "auto",
  deadlineMs: 30_000,
  parallelBlocks: 8,
  // With an origin 30 ms away, 100 MB/s per connection and four parts per block: 6 x 16 MiB every 72 ms are 1.4 GB/s.
  streamBlocks: 6,
  connectTimeoutMs: 1_000,
  attempts: 6,
  localVolumes: [] as readonly string[],
  lazy: false,
} as const;

type Settings = Pick<ConnectOptions, keyof typeof clientDefaults>;

/** A client's complete options. */
export type ClientOptions = { readonly [Name in keyof Settings]-?: Exclude<Settings[Name], undefined> } & {
  readonly endpoints: readonly string[];
  readonly access: Access;
  readonly fallback: FallbackOptions | undefined;
  readonly near: NearLimits | undefined;
  readonly log: Log | undefined;
};

/** The limits of a near cache. */
export interface NearLimits {
  /** 0: nothing is kept in memory. */
  readonly memoryBytes: number;
  readonly disk: NearDiskLimits | undefined;
}

const TRANSPORTS: ReadonlySet<string> = new Set<ClientOptions["transport"]>(["auto", "http", "grpc"]);

/** The longest delay that Node's timers accept. */
const LONGEST_MS = 2 ** 31 - 1;

/** Completes the options with defaults. Throws INVALID_ARGUMENT for an unknown name or an invalid value. */
export function completeOptions(given: ConnectOptions): ClientOptions {
  checkOptions(given, CONNECT_OPTIONS);
  const { endpoint, tls, token, tokenFile, accessKey, near, fallback, log, signal: _, ...others } = given;
  const defined = Object.fromEntries(Object.entries(others).filter(([, value]) => value !== undefined));
  const access = accessOf({ tls, token, tokenFile, accessKey });
  const own = {
    endpoints: endpointsOf(endpoint),
    access,
    near: near === undefined ? undefined : nearLimitsOf(near),
    fallback,
    log,
  };
  const options: ClientOptions = { ...clientDefaults, ...defined, ...own };
  if (!TRANSPORTS.has(options.transport)) {
    throw new CacheError("INVALID_ARGUMENT", `transport ${JSON.stringify(options.transport)} is unknown: use auto, http or grpc`);
  }
  checkWhole("deadlineMs", options.deadlineMs, LONGEST_MS);
  checkWhole("connectTimeoutMs", options.connectTimeoutMs, LONGEST_MS);
  checkWhole("parallelBlocks", options.parallelBlocks, 1_024);
  checkWhole("streamBlocks", options.streamBlocks, 1_024);
  checkWhole("attempts", options.attempts, 1_000);
  checkVolumes(options.localVolumes);
  if (fallback !== undefined) checkFallback(fallback);
  return options;
}

function endpointsOf(given: unknown): readonly string[] {
  const endpoints: readonly unknown[] = Array.isArray(given) ? given : [given];
  if (endpoints.length === 0) throw new CacheError("INVALID_ARGUMENT", "endpoint is an empty list: write host:port");
  for (const endpoint of endpoints) {
    if (typeof endpoint === "string" && isListenerAddress(endpoint)) continue;
    throw new CacheError(
      "INVALID_ARGUMENT",
      `endpoint ${JSON.stringify(endpoint)} is not an address: write host:port or unix:/path`,
    );
  }
  return [...new Set(endpoints as readonly string[])];
}

const SIZE = /^(\d+)(KiB|MiB|GiB)$/;
const UNITS: Readonly<Record<string, number>> = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 };

/** The near cache's disk has room for some blocks at least. */
const LEAST_DISK_BYTES = 64 << 20;

function nearLimitsOf(near: NearOptions): NearLimits {
  checkOptions(near, NEAR_OPTIONS);
  const { memory, disk } = near;
  if (memory === undefined && disk === undefined) throw new CacheError("INVALID_ARGUMENT", "near names neither memory nor disk");
  return {
    memoryBytes: memory === undefined ? 0 : nearMemoryOf(memory),
    disk: disk === undefined ? undefined : nearDiskOf(disk),
  };
}

function nearMemoryOf(memory: unknown): number {
  const bytes = typeof memory === "string" ? bytesIn(memory) : memory;
  if (typeof bytes === "number" && Number.isSafeInteger(bytes) && bytes >= PAGE_BYTES) return bytes;
  throw new CacheError(
    "INVALID_ARGUMENT",
    `near.memory ${JSON.stringify(memory)} is not a size of at least 64 KiB: write "256MiB", or a number of bytes`,
  );
}

function nearDiskOf(disk: unknown): NearDiskLimits {
  const [, path = "", size = ""] = (typeof disk === "string" && /^(.*):([^:]*)$/s.exec(disk)) || [];
  const limitBytes = bytesIn(size);
  const isValid = path !== "" && !path.includes("\0") && limitBytes !== undefined && limitBytes >= LEAST_DISK_BYTES;
  if (isValid) return { path, limitBytes };
  throw new CacheError(
    "INVALID_ARGUMENT",
    `near.disk ${JSON.stringify(disk)} is not a directory and a size of at least 64 MiB: write "/var/cache/app:10GiB"`,
  );
}

/** Returns the bytes of a size such as `256MiB`; undefined if the text is no size. */
function bytesIn(text: string): number | undefined {
  const [, digits, unit] = SIZE.exec(text) ?? [];
  const bytes = Number(digits) * (UNITS[unit ?? ""] ?? Number.NaN);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

function checkFallback(fallback: FallbackOptions): void {
  checkOptions(fallback, FALLBACKS);
  const { s3, gcs } = fallback;
  const isFunction = (client: unknown, method: string): boolean =>
    typeof (client as Record<string, unknown> | undefined)?.[method] === "function";
  if (s3 !== undefined && !(isFunction(s3, "getObject") && isFunction(s3, "headObject"))) {
    const message = "fallback.s3 has no getObject and headObject: give `new S3(...)` of @aws-sdk/client-s3, not an S3Client";
    throw new CacheError("INVALID_ARGUMENT", message);
  }
  if (gcs !== undefined && !isFunction(gcs, "bucket")) {
    throw new CacheError("INVALID_ARGUMENT", "fallback.gcs has no bucket: give `new Storage(...)` of @google-cloud/storage");
  }
  if (s3 === undefined && gcs === undefined) throw new CacheError("INVALID_ARGUMENT", "fallback names neither s3 nor gcs");
}

const OTHER_OPTIONS = [
  "endpoint",
  "tls",
  "token",
  "tokenFile",
  "accessKey",
  "signal",
  "near",
  "fallback",
  "log",
] as const satisfies (keyof ConnectOptions)[];
const CONNECT_OPTIONS: ReadonlySet<string> = new Set([...OTHER_OPTIONS, ...Object.keys(clientDefaults)]);

const NEAR_OPTIONS: ReadonlySet<string> = new Set<keyof NearOptions>(["memory", "disk"]);
const FALLBACKS: ReadonlySet<string> = new Set<keyof FallbackOptions>(["s3", "gcs"]);

/** Names of the options of each kind of call. */
export const CALL_OPTIONS: ReadonlySet<string> = new Set<keyof CallOptions>(["signal", "deadlineMs"]);
export const READ_OPTIONS: ReadonlySet<string> = new Set<keyof ReadOptions>(["signal", "deadlineMs", "into"]);
export const STREAM_OPTIONS: ReadonlySet<string> = new Set<keyof StreamOptions>(["signal", "deadlineMs", "reuse"]);

/** Returns the version in an entity tag, or the version itself. */
export function unquoted(version: string): string {
  checkText("the version", version);
  return version.endsWith('"') ? (versionOfEntityTag(version) ?? version) : version;
}

/** Returns the call's own deadline or the client's, milliseconds. Throws INVALID_ARGUMENT if it is not a valid time. */
export function deadlineOf(call: CallOptions | undefined, client: ClientOptions): number {
  const deadlineMs = call?.deadlineMs ?? client.deadlineMs;
  checkWhole("deadlineMs", deadlineMs, LONGEST_MS);
  return deadlineMs;
}

/** Returns exactly `length` bytes of the caller's buffer, if there is one. Throws INVALID_ARGUMENT if the buffer is too small. */
export function memoryOf(url: string, length: number, { into }: ReadOptions): Buffer | undefined {
  if (into === undefined) return undefined;
  if (into instanceof Uint8Array && into.length >= length) return Buffer.from(into.buffer, into.byteOffset, length);
  throw new CacheError(
    "INVALID_ARGUMENT",
    `${url}: \`into\` has no room for ${length} bytes: give a Buffer of at least that length`,
  );
}

function checkVolumes(volumes: unknown): void {
  if (Array.isArray(volumes) && volumes.every((path) => typeof path === "string" && path !== "" && !path.includes("\0"))) return;
  throw new CacheError(
    "INVALID_ARGUMENT",
    `localVolumes ${JSON.stringify(volumes)} is not a list of directories: write ["/cache"]`,
  );
}

/** Throws INVALID_ARGUMENT unless the value is a whole number from 1 to `most`. */
export function checkWhole(name: string, value: number, most: number): void {
  if (Number.isInteger(value) && value >= 1 && value <= most) return;
  throw new CacheError("INVALID_ARGUMENT", `${name} ${value} is not a whole number from 1 to ${most}`);
}
