import { CacheError, versionOfEntityTag } from "@frontcache/proto";
import { type Access, accessOf, type TlsOptions } from "./members/access.js";
import type { CredentialOptions } from "./members/credentials.js";

/** Options of `CacheClient.connect`. Only `endpoint` is required. */
export interface ConnectOptions extends CredentialOptions {
  /** `host:port` of any member's gRPC listener, or of the Service in front of them. */
  readonly endpoint: string;
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
  /** Enables TLS for both protocols. A function is called for each new connection. Default: plain text. */
  readonly tls?: TlsOptions | (() => TlsOptions) | undefined;
  /** Aborts only the initial connect, with CANCELLED, or DEADLINE_EXCEEDED for a timeout signal. */
  readonly signal?: AbortSignal | undefined;
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
} as const;

type Settings = Omit<ConnectOptions, "tls" | keyof CredentialOptions | "signal">;

export type ClientOptions = { readonly [Name in keyof Settings]-?: Exclude<Settings[Name], undefined> } & {
  readonly access: Access;
};

const TRANSPORTS: ReadonlySet<string> = new Set<ClientOptions["transport"]>(["auto", "http", "grpc"]);

/** The longest delay that Node's timers accept. */
const LONGEST_MS = 2 ** 31 - 1;

const ENDPOINT = /^(?:\[[0-9A-Fa-f:.%\w]+\]|[^\s:/[\]]+):\d{1,5}$/;

/** Completes the options with defaults. Throws INVALID_ARGUMENT for an unknown name or an invalid value. */
export function completeOptions(given: ConnectOptions): ClientOptions {
  checkOptions(given, CONNECT_OPTIONS);
  const { tls, token, tokenFile, accessKey, signal: _, ...others } = given;
  const defined = Object.fromEntries(Object.entries(others).filter(([, value]) => value !== undefined));
  const access = accessOf({ tls, token, tokenFile, accessKey });
  const options: ClientOptions = { ...clientDefaults, ...defined, endpoint: given.endpoint, access };
  if (!ENDPOINT.test(options.endpoint)) {
    throw new CacheError("INVALID_ARGUMENT", `endpoint ${JSON.stringify(options.endpoint)} is not an address: write host:port`);
  }
  if (!TRANSPORTS.has(options.transport)) {
    throw new CacheError("INVALID_ARGUMENT", `transport ${JSON.stringify(options.transport)} is unknown: use auto, http or grpc`);
  }
  checkWhole("deadlineMs", options.deadlineMs, LONGEST_MS);
  checkWhole("connectTimeoutMs", options.connectTimeoutMs, LONGEST_MS);
  checkWhole("parallelBlocks", options.parallelBlocks, 1_024);
  checkWhole("streamBlocks", options.streamBlocks, 1_024);
  checkWhole("attempts", options.attempts, 1_000);
  checkVolumes(options.localVolumes);
  return options;
}

const OTHER_OPTIONS = [
  "endpoint",
  "tls",
  "token",
  "tokenFile",
  "accessKey",
  "signal",
] as const satisfies (keyof ConnectOptions)[];
const CONNECT_OPTIONS: ReadonlySet<string> = new Set([...OTHER_OPTIONS, ...Object.keys(clientDefaults)]);

/** Names of the options of each kind of call. */
export const CALL_OPTIONS: ReadonlySet<string> = new Set<keyof CallOptions>(["signal", "deadlineMs"]);
export const READ_OPTIONS: ReadonlySet<string> = new Set<keyof ReadOptions>(["signal", "deadlineMs", "into"]);
export const STREAM_OPTIONS: ReadonlySet<string> = new Set<keyof StreamOptions>(["signal", "deadlineMs", "reuse"]);

/** Throws INVALID_ARGUMENT if there is an option that nobody knows, which is probably misspelt. */
export function checkOptions(options: object, known: ReadonlySet<string>): void {
  for (const name in options) {
    if (known.has(name)) continue;
    throw new CacheError("INVALID_ARGUMENT", `the option ${JSON.stringify(name)} is unknown: use ${[...known].join(", ")}`);
  }
}

/** Returns the version in an entity tag, or the version itself. */
export function unquoted(version: string): string {
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
