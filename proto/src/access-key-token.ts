import { createHmac, timingSafeEqual } from "node:crypto";

/** An access key of the identities file, as S3 clients have them. */
export interface AccessKey {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** If the key needs one. */
  readonly sessionToken?: string | undefined;
}

/** A bearer token that proves the possession of an access key for some minutes. It does not contain the secret. */
export interface AccessKeyToken {
  readonly accessKeyId: string;
  /** When it was signed, milliseconds since 1970. */
  readonly signedAtMs: number;
  readonly lifetimeMs: number;
  readonly sessionToken: string | undefined;
  /** In lower-case hexadecimal. */
  readonly signature: string;
}

/** Tokens with a longer lifetime are refused. It is the one of signatures in headers of S3. */
export const ACCESS_KEY_TOKEN_LIFETIME_MS = 15 * 60_000;

/** Precedes what is signed, so that a signature means nothing elsewhere. */
const CONTEXT = "frontcache access key token 1";

/** `fck1~<access key ID>~<signed at>~<lifetime>~<signature>[~<session token in base64url>]`; times in milliseconds. */
const FORM = /^fck1~([\w-]{3,128})~(\d{1,15})~(\d{1,9})~([0-9a-f]{64})(?:~([\w-]{1,6000}))?$/;

/** Signs a bearer token with an access key. */
export function signAccessKeyToken(key: AccessKey, nowMs: number): string {
  const { accessKeyId, secretAccessKey, sessionToken } = key;
  const token = { accessKeyId, signedAtMs: Math.floor(nowMs), lifetimeMs: ACCESS_KEY_TOKEN_LIFETIME_MS, sessionToken };
  const parts = ["fck1", accessKeyId, token.signedAtMs, token.lifetimeMs, signatureOf(token, secretAccessKey)];
  if (sessionToken !== undefined) parts.push(Buffer.from(sessionToken).toString("base64url"));
  return parts.join("~");
}

/** Parses a token without verifying it. Undefined: the text is no such token. */
export function parseAccessKeyToken(text: string): AccessKeyToken | undefined {
  const [, accessKeyId, signedAt, lifetime, signature, session] = FORM.exec(text) ?? [];
  if (accessKeyId === undefined || signature === undefined) return undefined;
  const sessionToken = session === undefined ? undefined : Buffer.from(session, "base64url").toString();
  return { accessKeyId, signedAtMs: Number(signedAt), lifetimeMs: Number(lifetime), sessionToken, signature };
}

/** Returns whether the holder of the secret signed the token. The time does not depend on how much of the signature is right. */
export function isSignedBy(token: AccessKeyToken, secretAccessKey: string): boolean {
  return timingSafeEqual(Buffer.from(token.signature), Buffer.from(signatureOf(token, secretAccessKey)));
}

function signatureOf(token: Omit<AccessKeyToken, "signature">, secretAccessKey: string): string {
  const { accessKeyId, signedAtMs, lifetimeMs, sessionToken = "" } = token;
  const text = [CONTEXT, accessKeyId, signedAtMs, lifetimeMs, sessionToken].join("\n");
  return createHmac("sha256", secretAccessKey).update(text).digest("hex");
}
