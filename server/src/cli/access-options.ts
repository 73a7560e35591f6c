import { readFileSync } from "node:fs";
import type { TlsOptions } from "@frontcache/client";
import { type CredentialOptions, tokenSource } from "@frontcache/client/members";
import type { Command } from "commander";
import { type Environment, variableOf } from "../config/declarations.js";
import { UsageError } from "./exit-code.js";

/** Authentication of a command to members. The flags are named as those of `serve`, so both can use the same environment. */
export interface AccessFlags {
  readonly tls?: boolean;
  readonly tlsCa?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly tlsServerName?: string;
  readonly authTokenFile?: string;
}

/** The options of the client for authentication. */
export interface ClientAccess extends CredentialOptions {
  readonly tls?: TlsOptions;
}

/** Adds the options of `AccessFlags`. There is no option for a token or key itself, because other users can read command lines. */
export function addAccessOptions(command: Command): Command {
  return command
    .option("--tls", "use TLS, verify members with the CA certificates of the system (environment FRONTCACHE_TLS)")
    .option("--tls-ca <path>", "use TLS, verify members with this CA bundle (PEM; environment FRONTCACHE_TLS_CA)")
    .option("--tls-cert <path>", "client certificate (PEM; environment FRONTCACHE_TLS_CERT)")
    .option("--tls-key <path>", "private key of --tls-cert (PEM; environment FRONTCACHE_TLS_KEY)")
    .option("--tls-server-name <name>", "name expected in the certificates of members (environment FRONTCACHE_TLS_SERVER_NAME)")
    .option(
      "--auth-token-file <path>",
      "send the first token of this file, for example of a Kubernetes ServiceAccount (environment FRONTCACHE_AUTH_TOKEN_FILE; or the token itself in FRONTCACHE_TOKEN, or an access key in FRONTCACHE_ACCESS_KEY_ID and FRONTCACHE_SECRET_ACCESS_KEY)",
    );
}

/** The client's options from the flags, then the environment. Throws a UsageError if a file cannot be used. */
export function accessOptions(flags: AccessFlags, environment: Environment): ClientAccess {
  const given = (flag: string): Given | undefined => givenBy(flags, environment, flag);
  const tls = {
    ca: contentOf(given("tls-ca")),
    cert: contentOf(given("tls-cert")),
    key: contentOf(given("tls-key")),
    serverName: given("tls-server-name")?.value,
  };
  const known = Object.fromEntries(Object.entries(tls).filter(([, value]) => value !== undefined));
  const secure = flags.tls === true || environment.FRONTCACHE_TLS === "true" || Object.keys(known).length > 0;
  return { ...(secure && { tls: known }), ...credentials(given("auth-token-file"), environment) };
}

/** A token file, a token or an access key, of which the first one that is given counts. */
function credentials(file: Given | undefined, environment: Environment): CredentialOptions {
  const {
    FRONTCACHE_TOKEN: token,
    FRONTCACHE_ACCESS_KEY_ID: accessKeyId,
    FRONTCACHE_SECRET_ACCESS_KEY: secretAccessKey,
    FRONTCACHE_SESSION_TOKEN: sessionToken,
  } = environment;
  if (file !== undefined) return tokenFileOf(file);
  if (token) return { token };
  if (!accessKeyId && !secretAccessKey) return {};
  if (!accessKeyId || !secretAccessKey)
    throw new UsageError("FRONTCACHE_ACCESS_KEY_ID and FRONTCACHE_SECRET_ACCESS_KEY belong together: set both or none");
  return { accessKey: { accessKeyId, secretAccessKey, ...(sessionToken && { sessionToken }) } };
}

/** A value, and the flag or variable that it comes from. */
interface Given {
  readonly from: string;
  readonly value: string;
}

function givenBy(flags: AccessFlags, environment: Environment, flag: string): Given | undefined {
  const name = flag.replaceAll(/-(\w)/g, (_, letter: string) => letter.toUpperCase()) as keyof AccessFlags;
  const [byFlag, variable] = [flags[name], variableOf({ flag })];
  if (typeof byFlag === "string") return { from: `--${flag}`, value: byFlag };
  const value = environment[variable];
  return value ? { from: variable, value } : undefined;
}

/** The client reads the file again when it changes. It must be usable now. */
function tokenFileOf({ from, value }: Given): CredentialOptions {
  try {
    tokenSource({ tokenFile: value })!();
  } catch (error) {
    throw new UsageError(`${from}: ${(error as Error).message.replace(/^tokenFile /, "")}`);
  }
  return { tokenFile: value };
}

function contentOf(file: Given | undefined): Buffer | undefined {
  if (file === undefined) return undefined;
  try {
    return readFileSync(file.value);
  } catch (error) {
    throw new UsageError(`${file.from}: cannot read ${file.value} (${(error as NodeJS.ErrnoException).code})`);
  }
}
