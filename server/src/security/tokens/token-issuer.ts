import type { JWTPayload, ProtectedHeaderParameters } from "jose";

/** The identity that a verified token proves. */
export interface TokenIdentity {
  readonly name: string;
  readonly groups: readonly string[];
}

/** A token with its parsed header and claims, none of which is verified. */
export interface UnverifiedToken {
  readonly text: string;
  readonly header: ProtectedHeaderParameters;
  readonly claims: JWTPayload;
}

/** A successful verification, and how long it counts. Times are milliseconds since 1970. */
export interface Verification {
  readonly identity: TokenIdentity;
  /** The issuer's revision of the keys that verified the token. */
  readonly revision: number;
  /** From then on the token must be verified again before it is accepted. */
  readonly validUntilMs: number;
  /** From then on it should be verified again in the background. Undefined: not before `validUntilMs`. */
  readonly confirmAtMs?: number | undefined;
}

/** The port of issuers: verifies the tokens of one issuer. */
export interface TokenIssuer {
  /** Grows whenever earlier verifications must be repeated, because the issuer's keys changed. */
  readonly revision: number;
  /** Verifies signature, issuer, audience and times. Rejects with TokenRefused. */
  verify(token: UnverifiedToken): Promise<Verification>;
  /** Stops background requests, and resolves when they have ended. */
  close(): Promise<void>;
}

/**
 * Why a token is refused:
 * - `invalid`: it will never be accepted.
 * - `undecided`: the issuer has not published its key, or the key, a time or a limit may permit it later.
 * - `unavailable`: the issuer cannot be reached, and nothing cached decides.
 */
export type RefusalKind = "invalid" | "undecided" | "unavailable";

/** A token is not accepted. The message never contains the token or an unverified claim of it. */
export class TokenRefused extends Error {
  override readonly name = "TokenRefused";
  readonly kind: RefusalKind;

  constructor(kind: RefusalKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}

/** Difference of clocks that is tolerated between this member and an issuer, for the claims `exp` and `nbf`. */
export const CLOCK_SKEW_MS = 60_000;

/** A verified token is verified again after this time, however long it is valid. */
export const MAX_VALID_MS = 3_600_000;
