import type { JWTPayload } from "jose";
import type { Clock, Random } from "../../runtime/clock.js";
import type { Log } from "../../runtime/log.js";
import { RefreshedValue, type Snapshot } from "./refreshed-value.js";
import { isSameKeys, type SigningKeys, UnknownKey, verifiedClaims } from "./signing-keys.js";
import { TokenRefused, type UnverifiedToken } from "./token-issuer.js";

/** What issuers need to run. */
export interface IssuerPorts {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

export interface IssuerKeysOptions {
  /** The issuer, for the log. */
  readonly subject: string;
  /** One of them must be in a token's claim `aud`. */
  readonly audiences: readonly string[];
  /** Loads the issuer's keys. Undefined: the issuer does not publish them to this member. */
  readonly load: (signal: AbortSignal) => Promise<SigningKeys | undefined>;
}

/** The outcome of a verification. */
export interface VerifiedByKeys {
  /** Undefined: the issuer publishes no keys, so the token is not verified. */
  readonly claims: JWTPayload | undefined;
  /** The revision of the keys that were used. */
  readonly revision: number;
}

/** The keys of one issuer, refreshed in the background. While the issuer does not answer, cached keys stay in use. */
export class IssuerKeys {
  readonly #audiences: readonly string[];
  readonly #clock: Clock;
  readonly #keys: RefreshedValue<SigningKeys | undefined>;

  /** Starts to load the keys. The first failure in a row is logged, and then every 16th. */
  constructor({ subject, audiences, load }: IssuerKeysOptions, { clock, random, log }: IssuerPorts) {
    this.#audiences = audiences;
    this.#clock = clock;
    this.#keys = new RefreshedValue({
      load,
      isSame: (one, other) => (one === undefined || other === undefined ? one === other : isSameKeys(one, other)),
      clock,
      random,
      onFailure({ message }, failures) {
        if (failures % 16 !== 1) return;
        const text = `cannot get the signing keys of ${subject}: ${message}; cached keys stay in use`;
        log.warn({ event: "issuer-unreachable", failures }, text);
      },
      onRecovery: () => log.info({ event: "issuer-recovered" }, `got the signing keys of ${subject} again`),
    });
  }

  /** Grows when the keys change. */
  get revision(): number {
    return this.#keys.revision;
  }

  /**
   * Verifies a token by the current keys. If they lack the token's key, newer keys are loaded, at most once per interval. Rejects with
   * TokenRefused.
   */
  async verify(token: UnverifiedToken): Promise<VerifiedByKeys> {
    const current = await this.#keys.get().catch(unavailable);
    try {
      return await this.#verifyBy(current, token);
    } catch (error) {
      if (!(error instanceof UnknownKey)) throw error;
      const newer = await this.#keys.newerThan(current).catch(unavailable);
      if (newer === current) throw error;
      return this.#verifyBy(newer, token);
    }
  }

  close(): Promise<void> {
    return this.#keys.close();
  }

  async #verifyBy({ value: keys, revision }: Snapshot<SigningKeys | undefined>, token: UnverifiedToken): Promise<VerifiedByKeys> {
    const expected = { audiences: this.#audiences, nowMs: this.#clock.nowMs() };
    return { revision, claims: keys === undefined ? undefined : await verifiedClaims(token, keys, expected) };
  }
}

/** Throws the refusal of a token whose issuer does not answer. */
export function unavailable(cause: unknown): never {
  throw new TokenRefused("unavailable", "the token cannot be verified now, because its issuer does not answer", { cause });
}
