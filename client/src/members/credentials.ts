import { readFileSync } from "node:fs";
import { type AccessKey, CacheError, signAccessKeyToken } from "@frontcache/proto";
import { checkObject } from "../argument-types.js";

/** A value, or a function that returns it and is called whenever it is needed. */
export type Given<Value> = Value | (() => Value);

/** A client's credentials, of which at most one is given. */
export interface CredentialOptions {
  /** A bearer token that the members accept. A function is called for each call, which allows token rotation. */
  readonly token?: Given<string> | undefined;
  /**
   * Path of a file whose first line is a bearer token, for example the projected token of a Kubernetes ServiceAccount. The file is read
   * again when it changes.
   */
  readonly tokenFile?: string | undefined;
  /**
   * An access key of the members' identities file. The secret is not sent: each call carries a token that it signed, which is valid for
   * 15 minutes. A function is called whenever a token is signed, every 5 minutes.
   */
  readonly accessKey?: Given<AccessKey> | undefined;
}

/** The longest token: heads of requests have at most 16 KiB. Tokens of ServiceAccounts have about 1,200 characters. */
const TOKEN = /^[A-Za-z0-9._~+/-]{1,12000}=*$/;

/** How often a token file is read at most. Kubernetes replaces a token when 20 % of its lifetime are left. */
const READ_EVERY_MS = 1_000;

/** A token by an access key is valid for three times as long, which tolerates clocks that differ by up to 10 minutes. */
const SIGN_EVERY_MS = 300_000;

/** The clocks of the credentials; tests replace them. */
export interface CredentialClock {
  /** Wall time, milliseconds since 1970. */
  nowMs(): number;
  monotonicMs(): number;
}

const systemClock: CredentialClock = { nowMs: () => Date.now(), monotonicMs: () => performance.now() };

/** Returns what returns the bearer token of each call; undefined: none. Throws INVALID_ARGUMENT for invalid options. */
export function tokenSource(options: CredentialOptions, clock: CredentialClock = systemClock): (() => string) | undefined {
  const { token, tokenFile, accessKey } = options;
  const given = Object.entries({ token, tokenFile, accessKey }).filter(([, value]) => value !== undefined);
  if (given.length > 1) {
    const names = given.map(([name]) => name).join(" and ");
    throw new CacheError("INVALID_ARGUMENT", `${names} exclude each other: give one of them`);
  }
  if (token !== undefined) return givenToken(token);
  if (tokenFile !== undefined) return tokenInFile(tokenFile, clock);
  return accessKey === undefined ? undefined : signedTokens(accessKey, clock);
}

function givenToken(token: Given<string>): () => string {
  if (typeof token === "function") return () => checkToken(ask("token", token));
  checkToken(token);
  return () => token;
}

/** If the file cannot be read or contains no token, the last token stays in use. Without one, the call fails. */
function tokenInFile(path: string, clock: CredentialClock): () => string {
  if (path === "") throw new CacheError("INVALID_ARGUMENT", "tokenFile is empty: give the path of a file");
  let current: string | undefined;
  let nextReadMs = Number.NEGATIVE_INFINITY;
  return () => {
    const nowMs = clock.monotonicMs();
    if (nowMs < nextReadMs && current !== undefined) return current;
    nextReadMs = nowMs + READ_EVERY_MS;
    try {
      current = checkToken(firstLine(readFileSync(path, "utf8")));
    } catch (cause) {
      if (current !== undefined) return current;
      const why = cause instanceof CacheError ? cause.message : (cause as NodeJS.ErrnoException).code;
      throw new CacheError("UNAVAILABLE", `tokenFile ${path} cannot be used: ${why}`, { cause });
    }
    return current;
  };
}

/** The first line that is not empty. */
function firstLine(text: string): string {
  return text.trim().split(/\s*\n/, 1)[0]!;
}

function signedTokens(accessKey: Given<AccessKey>, clock: CredentialClock): () => string {
  if (typeof accessKey !== "function") checkKey(accessKey);
  let current: string | undefined;
  let nextSignMs = Number.NEGATIVE_INFINITY;
  return () => {
    const nowMs = clock.monotonicMs();
    if (nowMs < nextSignMs && current !== undefined) return current;
    const key = typeof accessKey === "function" ? ask("accessKey", accessKey) : accessKey;
    current = signAccessKeyToken(checkKey(key), clock.nowMs());
    nextSignMs = nowMs + SIGN_EVERY_MS;
    return current;
  };
}

/**
 * Calls the caller's function. Its failure is UNAVAILABLE, because it may be temporary, for example during a rotation of files.
 */
export function ask<Value>(option: "tls" | "token" | "accessKey", get: () => Value): Value {
  try {
    return get();
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new CacheError("UNAVAILABLE", `the function for ${option} has failed: ${why}`, { cause });
  }
}

/** Checks that a token fits into a header. The message does not contain the token. */
function checkToken(token: string): string {
  if (typeof token === "string" && TOKEN.test(token)) return token;
  throw new CacheError("INVALID_ARGUMENT", "the token is invalid: use A-Z a-z 0-9 . _ ~ + / - on one line");
}

/** The message does not contain the secret. */
function checkKey(key: AccessKey): AccessKey {
  const { accessKeyId, secretAccessKey, sessionToken = "" } = checkObject("accessKey", key);
  const isValid = /^[\w-]{3,128}$/.test(accessKeyId) && typeof secretAccessKey === "string" && secretAccessKey !== "";
  if (isValid && typeof sessionToken === "string" && sessionToken.length <= 4_096) return key;
  throw new CacheError(
    "INVALID_ARGUMENT",
    "accessKey is invalid: give accessKeyId, secretAccessKey and, if needed, sessionToken",
  );
}
