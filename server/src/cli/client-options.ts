import { CacheClient } from "@frontcache/client";
import { CacheError, parseObjectUrl } from "@frontcache/proto";
import type { Command } from "commander";
import { endpointAddress } from "../config/addresses.js";
import { duration } from "../config/quantities.js";
import { type AccessFlags, accessOptions, addAccessOptions } from "./access-options.js";
import { UsageError } from "./exit-code.js";

const DEFAULT_ENDPOINT = "localhost:8080";
const DEFAULT_TIMEOUT = "1s";

/** The options of every command that connects to a member. */
export interface ClientFlags extends AccessFlags {
  readonly endpoint?: string;
  readonly memberTimeout?: string;
}

/** Adds the options of `ClientFlags`. */
export function addClientOptions(command: Command): Command {
  command
    .option(
      "--endpoint <host:port|unix:/path>",
      `address of any member or of their Service (environment FRONTCACHE_ENDPOINT; default ${DEFAULT_ENDPOINT})`,
    )
    .option(
      "--member-timeout <duration>",
      `time in which a member must accept a connection (environment FRONTCACHE_MEMBER_TIMEOUT; default ${DEFAULT_TIMEOUT})`,
    );
  return addAccessOptions(command);
}

/**
 * Connects a client, runs `work`, and closes the client. SIGINT and SIGTERM abort the signal passed to `work`, and the connect.
 * Throws a UsageError for an invalid endpoint or timeout.
 */
export async function withClient(
  flags: ClientFlags,
  work: (client: CacheClient, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const [from, endpoint] = endpointOf(flags);
  asUsage(from, () => endpointAddress.parse(endpoint));
  const connectTimeoutMs = timeoutOf(flags);
  const interrupted = new AbortController();
  const interrupt = (): void => interrupted.abort(new CacheError("CANCELLED", "interrupted"));
  process.once("SIGINT", interrupt).once("SIGTERM", interrupt);
  try {
    const access = accessOptions(flags, process.env);
    const client = await CacheClient.connect({ endpoint, connectTimeoutMs, ...access, signal: interrupted.signal });
    try {
      await work(client, interrupted.signal);
    } finally {
      await client.close();
    }
  } finally {
    process.off("SIGINT", interrupt).off("SIGTERM", interrupt);
  }
}

function endpointOf({ endpoint }: ClientFlags): [from: string, endpoint: string] {
  if (endpoint !== undefined) return ["--endpoint", endpoint];
  return ["FRONTCACHE_ENDPOINT", process.env.FRONTCACHE_ENDPOINT || DEFAULT_ENDPOINT];
}

function timeoutOf({ memberTimeout }: ClientFlags): number {
  const from = memberTimeout === undefined ? "FRONTCACHE_MEMBER_TIMEOUT" : "--member-timeout";
  const text = memberTimeout ?? (process.env.FRONTCACHE_MEMBER_TIMEOUT || DEFAULT_TIMEOUT);
  return asUsage(from, () => duration(10).parse(text));
}

/** Returns a valid object URL. Throws a UsageError. */
export function checkUrl(url: string): string {
  return asUsage(undefined, () => parseObjectUrl(url).url);
}

/** Converts the error of a parser to a UsageError. */
export function asUsage<T>(from: string | undefined, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    const { message } = error as Error;
    throw new UsageError(from === undefined ? message : `${from}: ${message}`);
  }
}
