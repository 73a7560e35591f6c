import { CacheError } from "@frontcache/proto";
import type { CallingMember } from "./member-handshake.js";

/** TLS options for connections to members. All certificates and keys are in PEM. */
export interface TlsOptions {
  /** The authorities that verify members' certificates. Default: the system's. */
  readonly ca?: string | Buffer;
  /** The client's certificate chain, with `key`, if members require one. */
  readonly cert?: string | Buffer;
  readonly key?: string | Buffer;
  /** The name expected in members' certificates. Default: the host of each member's address. */
  readonly serverName?: string;
}

/** A client's credentials for members. They are read whenever they are needed, so they may be rotated. */
export interface Access {
  /** Returns the TLS options of a new connection; undefined: plain text. */
  tls(): TlsOptions | undefined;
  /** Returns the value of a call's Authorization header; undefined: none. */
  authorization(): string | undefined;
  /** Returns the member that proves its identity on a new connection with a key. Undefined or absent: no proof. */
  member?(): CallingMember | undefined;
}

/** Plain text without a token. */
export const plainAccess: Access = { tls: () => undefined, authorization: () => undefined };

export type Given<Value> = Value | (() => Value) | undefined;

/** Converts the options of `connect`. Throws INVALID_ARGUMENT for invalid ones. */
export function accessOf(tls: Given<TlsOptions>, token: Given<string>): Access {
  const tlsOf = typeof tls === "function" ? () => given("tls", () => checkAuthorities(tls())) : () => tls;
  const authorization = (): string | undefined => {
    const shown = typeof token === "function" ? given("token", token) : token;
    return shown === undefined ? undefined : `Bearer ${checkToken(shown)}`;
  };
  if (typeof token !== "function") authorization();
  if (typeof tls !== "function" && tls !== undefined) {
    checkAuthorities(tls);
    if ((tls.cert === undefined) !== (tls.key === undefined)) {
      throw new CacheError("INVALID_ARGUMENT", "tls: cert and key belong together: give both or none");
    }
  }
  return { tls: tlsOf, authorization };
}

/**
 * Calls the caller's function. Its failure is UNAVAILABLE, because it may be temporary, for example during a rotation of files.
 */
function given<Value>(option: "tls" | "token", get: () => Value): Value {
  try {
    return get();
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new CacheError("UNAVAILABLE", `the function for ${option} has failed: ${why}`, { cause });
  }
}

/** Node ignores a CA without certificates, for example a key, and then rejects every member's certificate. */
function checkAuthorities(tls: TlsOptions): TlsOptions {
  if (tls.ca === undefined || /-----BEGIN (?:TRUSTED )?CERTIFICATE-----/.test(tls.ca.toString("latin1"))) return tls;
  throw new CacheError("INVALID_ARGUMENT", "tls: ca contains no certificate: give the authorities' certificates in PEM");
}

/** Checks that a token fits into a header. The message does not contain the token. */
function checkToken(token: string): string {
  if (/^[A-Za-z0-9._~+/-]{1,1024}=*$/.test(token)) return token;
  throw new CacheError("INVALID_ARGUMENT", "the token is invalid: use A-Z a-z 0-9 . _ ~ + / - on one line");
}
