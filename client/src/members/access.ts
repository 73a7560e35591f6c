import { CacheError } from "@frontcache/proto";
import { checkOptions } from "../argument-types.js";
import { ask, type CredentialOptions, type Given, tokenSource } from "./credentials.js";
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

const TLS_OPTIONS: ReadonlySet<string> = new Set<keyof TlsOptions>(["ca", "cert", "key", "serverName"]);

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

/** The options of `connect` that authenticate a client. */
export interface AccessOptions extends CredentialOptions {
  readonly tls?: Given<TlsOptions> | undefined;
}

/** Converts the options of `connect`. Throws INVALID_ARGUMENT for invalid ones. */
export function accessOf({ tls, ...credentials }: AccessOptions): Access {
  const tlsOf = typeof tls === "function" ? () => ask("tls", () => checkAuthorities(tls())) : () => tls;
  const token = tokenSource(credentials);
  if (typeof tls !== "function" && tls !== undefined) {
    checkAuthorities(tls);
    if ((tls.cert === undefined) !== (tls.key === undefined)) {
      throw new CacheError("INVALID_ARGUMENT", "tls: cert and key belong together: give both or none");
    }
  }
  return { tls: tlsOf, authorization: () => (token === undefined ? undefined : `Bearer ${token()}`) };
}

/** Node ignores a CA without certificates, for example a key, and then rejects every member's certificate. */
function checkAuthorities(tls: TlsOptions): TlsOptions {
  checkOptions(tls, TLS_OPTIONS);
  for (const name of ["ca", "cert", "key"] as const) {
    const pem: unknown = tls[name];
    if (pem === undefined || typeof pem === "string" || Buffer.isBuffer(pem)) continue;
    throw new CacheError("INVALID_ARGUMENT", `tls: ${name} is not PEM: give a text or a Buffer`);
  }
  if (tls.ca === undefined || /-----BEGIN (?:TRUSTED )?CERTIFICATE-----/.test(tls.ca.toString("latin1"))) return tls;
  throw new CacheError("INVALID_ARGUMENT", "tls: ca contains no certificate: give the authorities' certificates in PEM");
}
