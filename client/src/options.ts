import { CacheError } from "@frontcache/proto";
import { type Access, accessOf, type TlsOptions } from "./members/access.js";

/** How a client is made. Only `endpoint` is needed. */
export interface ConnectOptions {
  /** `host:port` of any member's gRPC listener, or of the Service in front of them. */
  readonly endpoint: string;
  /** How bytes are read. Default `auto`: by HTTP from members that have a gateway, by gRPC where that can't be done. */
  readonly transport?: "auto" | "http" | "grpc";
  /** How long a call may take before it fails with DEADLINE_EXCEEDED, milliseconds; for `stream`, each block's read. Default 30,000. */
  readonly deadlineMs?: number;
  /** Blocks that one `readRange` reads at a time. Default 8. */
  readonly parallelBlocks?: number;
  /** Blocks that one `stream` reads at a time, the one that is handed out included: what it holds in memory. Default 6. */
  readonly streamBlocks?: number;
  /** How long a connection may take to stand before the next member is asked, milliseconds. Default 1,000. */
  readonly connectTimeoutMs?: number;
  /** Tries of one block in all, over all members. Default 6. */
  readonly attempts?: number;
  /**
   * Cache directories of members on this host, as this process sees them (a volume mounted read-only, for example). Blocks that
   * are held there are read from their files, without a socket, by reads that name a version. On a disk that hangs, a read with
   * `into` outlives its deadline, until the disk answers. Default none.
   */
  readonly localVolumes?: readonly string[];
  /** Speak TLS with members, by both transports. A function is asked for each new connection. Default: plain text. */
  readonly tls?: TlsOptions | (() => TlsOptions);
  /** One of the members' tokens. A function is asked for each call, so that tokens can be exchanged. */
  readonly token?: string | (() => string);
  /** Aborting it ends the connecting, with CANCELLED (DEADLINE_EXCEEDED for a time-out's signal); a client that stands it does not close. */
  readonly signal?: AbortSignal;
}

/** What ends one call. */
export interface CallOptions {
  /** Aborting it ends the call, and all that was started for it, with CANCELLED (DEADLINE_EXCEEDED for a time-out's signal). */
  readonly signal?: AbortSignal;
  /** Instead of the client's `deadlineMs`. */
  readonly deadlineMs?: number;
}

/** What one `readRange` does in its own way. */
export interface ReadOptions extends CallOptions {
  /**
   * Memory for the bytes, at least `length` of it, instead of a new buffer: the result is its beginning. New memory costs as
   * much as the bytes' way through the socket; who reads large ranges one after the other saves it. It belongs to the read
   * until that has settled; after a failure, anything may stand in it.
   */
  readonly into?: Uint8Array;
}

/** What one `stream` does in its own way. */
export interface StreamOptions extends CallOptions {
  /**
   * Use memory again: each piece is yours only until you ask for the next one, as `for await` does. New memory costs more than
   * the bytes' way through the socket. Default false: pieces are yours for good.
   */
  readonly reuse?: boolean;
}

/** The one place of the client's defaults. */
export const clientDefaults = {
  transport: "auto",
  deadlineMs: 30_000,
  parallelBlocks: 8,
  // 30 ms away from an origin of 100 MB/s a connection, four parts a block: 6 x 16 MiB every 72 ms are 1.4 GB/s.
  streamBlocks: 6,
  connectTimeoutMs: 1_000,
  attempts: 6,
  localVolumes: [] as readonly string[],
} as const;

export type ClientOptions = Required<Omit<ConnectOptions, "tls" | "token" | "signal">> & { readonly access: Access };

const TRANSPORTS: ReadonlySet<string> = new Set<ClientOptions["transport"]>(["auto", "http", "grpc"]);

/** Timers take no more. */
const LONGEST_MS = 2 ** 31 - 1;

const ENDPOINT = /^(?:\[[0-9A-Fa-f:.%\w]+\]|[^\s:/[\]]+):\d{1,5}$/;

/** The complete options; throws INVALID_ARGUMENT for a value that can't be used. */
export function completeOptions(given: ConnectOptions): ClientOptions {
  const { tls, token, signal: _, ...others } = given;
  const defined = Object.fromEntries(Object.entries(others).filter(([, value]) => value !== undefined));
  const options: ClientOptions = { ...clientDefaults, ...defined, endpoint: given.endpoint, access: accessOf(tls, token) };
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

/** A call's deadline, the client's unless it has its own; throws INVALID_ARGUMENT for one that is no time. */
export function deadlineOf(call: CallOptions | undefined, client: ClientOptions): number {
  const deadlineMs = call?.deadlineMs ?? client.deadlineMs;
  checkWhole("deadlineMs", deadlineMs, LONGEST_MS);
  return deadlineMs;
}

/** The memory that a read's options give for its bytes, exactly `length` of it; throws INVALID_ARGUMENT where it is too small. */
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
  throw new CacheError("INVALID_ARGUMENT", `localVolumes ${JSON.stringify(volumes)} is no list of directories: write ["/cache"]`);
}

/** Throws INVALID_ARGUMENT for a number that is none of 1 to `most`. */
export function checkWhole(name: string, value: number, most: number): void {
  if (Number.isInteger(value) && value >= 1 && value <= most) return;
  throw new CacheError("INVALID_ARGUMENT", `${name} ${value} is not a whole number from 1 to ${most}`);
}
