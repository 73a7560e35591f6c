import { CacheClient } from "@frontcache/client";
import { CacheError, parseObjectUrl } from "@frontcache/proto";
import type { Command } from "commander";
import { remoteAddress } from "../config/addresses.js";
import { type AccessFlags, accessOptions, addAccessOptions } from "./access-options.js";
import { UsageError } from "./exit-code.js";

const DEFAULT_ENDPOINT = "localhost:8080";

/** The options of every command that connects to a member. */
export interface ClientFlags extends AccessFlags {
  readonly endpoint?: string;
}

/** Adds the options of `ClientFlags`. */
export function addClientOptions(command: Command): Command {
  command.option(
    "--endpoint <host:port>",
    `address of any member or of their Service (environment FRONTCACHE_ENDPOINT; default ${DEFAULT_ENDPOINT})`,
  );
  return addAccessOptions(command);
}

/**
 * Connects a client, runs `work`, and closes the client. SIGINT and SIGTERM abort the signal passed to `work`, and the connect.
 * Throws a UsageError for an invalid endpoint.
 */
export async function withClient(
  flags: ClientFlags,
  work: (client: CacheClient, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const [from, endpoint] = endpointOf(flags);
  asUsage(from, () => remoteAddress.parse(endpoint));
  const interrupted = new AbortController();
  const interrupt = (): void => interrupted.abort(new CacheError("CANCELLED", "interrupted"));
  process.once("SIGINT", interrupt).once("SIGTERM", interrupt);
  try {
    const client = await CacheClient.connect({ endpoint, ...accessOptions(flags, process.env), signal: interrupted.signal });
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
