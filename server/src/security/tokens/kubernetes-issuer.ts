import type { Clock } from "../../runtime/clock.js";
import type { Log } from "../../runtime/log.js";
import { serviceAccountOf } from "./claims.js";
import { IssuerKeys, type IssuerPorts, unavailable } from "./issuer-keys.js";
import type { ReviewStatus, ServiceAccountApi } from "./service-account-api.js";
import { validUntilMs } from "./signing-keys.js";
import { CLOCK_SKEW_MS, type TokenIssuer, TokenRefused, type UnverifiedToken, type Verification } from "./token-issuer.js";

export interface KubernetesIssuerOptions {
  readonly api: ServiceAccountApi;
  /** One of them must be in a token's claim `aud`. */
  readonly audiences: readonly string[];
}

/** A token that the API server has confirmed is confirmed again after this time, as API servers do with webhooks by default. */
const REVIEW_MS = 120_000;

/** If the API server does not answer, a token that it confirmed is accepted for this time. */
const REVIEW_VALID_MS = 600_000;

/** Reviews that run concurrently. Anybody who reaches a port can cause reviews of forged tokens. */
const MAX_REVIEWS = 64;

/** At most one line about failed reviews per this time. */
const LINE_EVERY_MS = 60_000;

/**
 * Verifies ServiceAccount tokens of a Kubernetes cluster: by the keys that its API server publishes, or if it does not publish them to
 * this member's ServiceAccount, by a TokenReview of each token.
 */
export class KubernetesIssuer implements TokenIssuer {
  readonly #options: KubernetesIssuerOptions;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #keys: IssuerKeys;
  readonly #closing = new AbortController();
  #reviews = 0;
  #nextLineMs = Number.NEGATIVE_INFINITY;

  /** Starts to load the keys. */
  constructor(options: KubernetesIssuerOptions, ports: IssuerPorts) {
    const { api, audiences } = options;
    this.#options = options;
    this.#clock = ports.clock;
    this.#log = ports.log;
    this.#keys = new IssuerKeys({ subject: "the Kubernetes cluster", audiences, load: (signal) => api.discover(signal) }, ports);
  }

  get revision(): number {
    return this.#keys.revision;
  }

  async verify(token: UnverifiedToken): Promise<Verification> {
    const { claims, revision } = await this.#keys.verify(token);
    if (claims === undefined) return { ...(await this.#review(token)), revision };
    const identity = serviceAccountOf(claims.sub);
    if (identity === undefined) throw new TokenRefused("invalid", "the token's subject is not a ServiceAccount");
    return { identity, revision, validUntilMs: validUntilMs(claims, this.#clock.nowMs()) };
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#keys.close();
  }

  /** Asks the API server about a token, unless its claims show that the answer would be no. */
  async #review({ text, claims }: UnverifiedToken): Promise<Omit<Verification, "revision">> {
    const { api, audiences } = this.#options;
    const nowMs = this.#clock.nowMs();
    const untilMs = typeof claims.exp === "number" ? claims.exp * 1_000 + CLOCK_SKEW_MS : 0;
    if (untilMs <= nowMs) throw new TokenRefused("invalid", "the token has expired");
    if (serviceAccountOf(claims.sub) === undefined || !includesAny(audiences, [claims.aud].flat()))
      throw new TokenRefused("invalid", "the token is not a ServiceAccount's, or it is for another audience");
    if (this.#reviews >= MAX_REVIEWS) throw new TokenRefused("unavailable", "too many tokens are being reviewed: try again");
    this.#reviews++;
    try {
      const status = await api.review(text, audiences, this.#closing.signal).catch((error: Error) => {
        this.#logFailure(error);
        return unavailable(error);
      });
      const identity = identityIn(status, audiences);
      return { identity, validUntilMs: Math.min(untilMs, nowMs + REVIEW_VALID_MS), confirmAtMs: nowMs + REVIEW_MS };
    } finally {
      this.#reviews--;
    }
  }

  #logFailure({ message }: Error): void {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs < this.#nextLineMs || this.#closing.signal.aborted) return;
    this.#nextLineMs = nowMs + LINE_EVERY_MS;
    this.#log.warn({ event: "token-review-failed" }, `${message}; ${ADVICE}`);
  }
}

const ADVICE =
  "ServiceAccount tokens are verified by TokenReviews, because the API server does not publish its signing keys to this member: allow one of the two, as deploy/overlays/identities does";

/** An API server that ignores audiences returns none. It would accept tokens that are meant for others. */
function identityIn({ authenticated, user, audiences }: ReviewStatus, expected: readonly string[]): Verification["identity"] {
  const identity = serviceAccountOf(user?.username);
  if (authenticated === true && Array.isArray(audiences) && includesAny(expected, audiences) && identity !== undefined)
    return identity;
  throw new TokenRefused("invalid", "the Kubernetes API server does not accept the token");
}

function includesAny(expected: readonly string[], among: readonly unknown[]): boolean {
  return expected.some((audience) => among.includes(audience));
}
