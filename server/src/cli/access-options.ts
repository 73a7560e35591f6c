import { readFileSync } from "node:fs";
import type { ConnectOptions } from "@frontcache/client";
import type { Command } from "commander";
import type { Environment } from "../config/declarations.js";
import { Tokens } from "../security/tokens.js";
import { UsageError } from "./exit-code.js";

/** What a command shows to members. Each has the name that `serve` has for it, so that one environment serves both. */
export interface AccessFlags {
  readonly tls?: boolean;
  readonly tlsCa?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly tlsServerName?: string;
  readonly authTokenFile?: string;
}

/** Adds the options of `AccessFlags`. There is none for a token itself: others on the machine read command lines. */
export function addAccessOptions(command: Command): Command {
  return command
    .option("--tls", "speak TLS, members' certificates being checked by the system's authorities (environment FRONTCACHE_TLS)")
    .option("--tls-ca <path>", "speak TLS, checked by these authorities (PEM; environment FRONTCACHE_TLS_CA)")
    .option("--tls-cert <path>", "show this certificate (PEM; environment FRONTCACHE_TLS_CERT)")
    .option("--tls-key <path>", "the key to it (PEM; environment FRONTCACHE_TLS_KEY)")
    .option("--tls-server-name <name>", "the name in members' certificates (environment FRONTCACHE_TLS_SERVER_NAME)")
    .option(
      "--auth-token-file <path>",
      "show the first token of this file (environment FRONTCACHE_AUTH_TOKEN_FILE; or the token itself in FRONTCACHE_TOKEN)",
    );
}

/** The client's options for what the flags, else the environment, say. Throws a UsageError for a file that can't be used. */
export function accessOptions(flags: AccessFlags, environment: Environment): Pick<ConnectOptions, "tls" | "token"> {
  const from = (flag: string | undefined, variable: string): string | undefined => flag ?? (environment[variable] || undefined);
  const file = (flag: string | undefined, variable: string): Buffer | undefined => {
    const path = from(flag, variable);
    return path === undefined ? undefined : read(path, variable);
  };
  const tls = {
    ca: file(flags.tlsCa, "FRONTCACHE_TLS_CA"),
    cert: file(flags.tlsCert, "FRONTCACHE_TLS_CERT"),
    key: file(flags.tlsKey, "FRONTCACHE_TLS_KEY"),
    serverName: from(flags.tlsServerName, "FRONTCACHE_TLS_SERVER_NAME"),
  };
  const given = Object.fromEntries(Object.entries(tls).filter(([, value]) => value !== undefined));
  const secure = flags.tls === true || environment.FRONTCACHE_TLS === "true" || Object.keys(given).length > 0;
  const token = tokenOf(from(flags.authTokenFile, "FRONTCACHE_AUTH_TOKEN_FILE"), environment);
  return { ...(secure && { tls: given }), ...(token !== undefined && { token }) };
}

function tokenOf(path: string | undefined, environment: Environment): string | undefined {
  if (path === undefined) return environment.FRONTCACHE_TOKEN || undefined;
  try {
    return Tokens.parse(read(path, "--auth-token-file").toString()).own;
  } catch (error) {
    throw error instanceof UsageError ? error : new UsageError(`--auth-token-file ${path}: ${(error as Error).message}`);
  }
}

function read(path: string, from: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new UsageError(`${from}: ${path} can't be read (${(error as NodeJS.ErrnoException).code})`);
  }
}
