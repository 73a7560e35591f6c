import { CacheError } from "@frontcache/proto";
import type { CallingMember } from "./member-handshake.js";

/** How TLS is spoken with members. Everything is in PEM. */
export interface TlsOptions {
  /** The authorities that members' certificates are checked by. Default: the system's. */
  readonly ca?: string | Buffer;
  /** The client's own certificate chain, with `key`, where members ask for one. */
  readonly cert?: string | Buffer;
  readonly key?: string | Buffer;
  /** The name in members' certificates. Default: the host by which each is reached. */
  readonly serverName?: string;
}

/** What a client shows to members. Both are asked for whenever they are needed, so that they may change meanwhile. */
export interface Access {
  /** For each new connection; undefined: plain text. */
  tls(): TlsOptions | undefined;
  /** For each call: the value of its Authorization header; undefined: none. */
  authorization(): string | undefined;
  /** For each new connection: the member that proves itself by a key. Undefined or absent: nobody does. */
  member?(): CallingMember | undefined;
}

/** Plain text, and no token. */
export const plainAccess: Access = { tls: () => undefined, authorization: () => undefined };

export type Given<Value> = Value | (() => Value) | undefined;

/** What the options of `connect` come to. Throws INVALID_ARGUMENT for ones that can't be used. */
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

/** What the caller's function gives now: where it can't, as while a file is exchanged, it may soon. */
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
