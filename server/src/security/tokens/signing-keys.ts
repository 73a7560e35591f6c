import { createLocalJWKSet, errors, type JWTPayload, type JWTVerifyGetKey, type JWTVerifyOptions, jwtVerify } from "jose";
import { CLOCK_SKEW_MS, MAX_VALID_MS, TokenRefused, type UnverifiedToken } from "./token-issuer.js";

/** Public keys with which an issuer's tokens are verified. */
export interface SigningKeys {
  readonly issuer: string;
  /** The key set as JSON, for comparison. */
  readonly text: string;
  readonly keyOf: JWTVerifyGetKey;
}

/** Signatures by a private key. Signatures by a shared secret are refused, and so is `none`. */
export const ALGORITHMS: readonly string[] = [
  "RS256",
  "RS384",
  "RS512",
  "PS256",
  "PS384",
  "PS512",
  "ES256",
  "ES384",
  "ES512",
  "EdDSA",
  "Ed25519",
];

/** For requests of key sets and discovery documents. A Kubernetes API server sends its keys as the first type alone. */
export const ACCEPTED_TYPES = "application/jwk-set+json, application/json";

/** Issuers have two to ten keys. */
const MAX_KEYS = 100;

/** Parses a key set (RFC 7517). Keys of unknown kinds are ignored. Throws if it is not a key set. */
export function signingKeys(issuer: string, keySet: unknown): SigningKeys {
  const { keys } = (keySet ?? {}) as { readonly keys?: unknown };
  if (!Array.isArray(keys)) throw new Error("its key set has no list of keys");
  if (keys.length > MAX_KEYS) throw new Error(`its key set has more than ${MAX_KEYS} keys`);
  return { issuer, text: JSON.stringify(keys), keyOf: createLocalJWKSet({ keys }) };
}

export function isSameKeys(one: SigningKeys, other: SigningKeys): boolean {
  return one.issuer === other.issuer && one.text === other.text;
}

export interface Expected {
  /** One of them must be in the token's claim `aud`. */
  readonly audiences: readonly string[];
  readonly nowMs: number;
}

/** No key of the key set has the token's key ID and algorithm, or verifies a token without a key ID. A newer key set may have one. */
export class UnknownKey extends TokenRefused {
  constructor() {
    super("undecided", "the token is signed with a key that its issuer does not publish");
  }
}

/** Verifies signature, issuer, audience and times of a token, and returns its claims. Rejects with TokenRefused. */
export async function verifiedClaims(
  token: UnverifiedToken,
  keys: SigningKeys,
  { audiences, nowMs }: Expected,
): Promise<JWTPayload> {
  // Checked first, so that a token of another issuer does not pass for one that is signed with a new key.
  if (token.claims.iss !== keys.issuer) throw new TokenRefused("invalid", "the token's issuer is not accepted");
  const options: JWTVerifyOptions = {
    algorithms: [...ALGORITHMS],
    issuer: keys.issuer,
    audience: [...audiences],
    requiredClaims: ["exp"],
    clockTolerance: CLOCK_SKEW_MS / 1_000,
    currentDate: new Date(nowMs),
  };
  try {
    const { payload } = await jwtVerify(token.text, keys.keyOf, options).catch((error: unknown) => {
      if (error instanceof errors.JWKSMultipleMatchingKeys) return verifyByAny(token, error, options);
      throw error;
    });
    return payload;
  } catch (error) {
    throw refusalOf(error, token);
  }
}

/** A token without a key ID may be signed by any key for its algorithm. */
async function verifyByAny(token: UnverifiedToken, candidates: errors.JWKSMultipleMatchingKeys, options: JWTVerifyOptions) {
  for await (const key of candidates) {
    try {
      return await jwtVerify(token.text, key, options);
    } catch (error) {
      if (!(error instanceof errors.JWSSignatureVerificationFailed)) throw error;
    }
  }
  throw new errors.JWSSignatureVerificationFailed();
}

/** The messages of jose name claims and never contain their values. */
function refusalOf(error: unknown, { header }: UnverifiedToken): TokenRefused {
  const isWrong = error instanceof errors.JWSSignatureVerificationFailed;
  if (error instanceof errors.JWKSNoMatchingKey || (isWrong && header.kid === undefined)) return new UnknownKey();
  if (error instanceof errors.JWTExpired) return new TokenRefused("invalid", "the token has expired");
  if (error instanceof errors.JWTClaimValidationFailed) {
    const kind = error.claim === "nbf" ? "undecided" : "invalid";
    return new TokenRefused(kind, `the token's claim ${error.claim} is not accepted`);
  }
  if (isWrong) return new TokenRefused("invalid", "the token's signature is wrong");
  return new TokenRefused("invalid", "the token cannot be verified", { cause: error });
}

/** Until when verified claims count, milliseconds since 1970. */
export function validUntilMs(claims: JWTPayload, nowMs: number): number {
  return Math.min(nowMs + MAX_VALID_MS, claims.exp! * 1_000 + CLOCK_SKEW_MS);
}
