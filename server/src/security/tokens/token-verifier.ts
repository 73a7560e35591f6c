import { hash } from "node:crypto";
import { BoundedMap, SingleFlight } from "@frontcache/proto/runtime";
import { decodeJwt, decodeProtectedHeader } from "jose";
import type { Clock } from "../../runtime/clock.js";
import { ALGORITHMS } from "./signing-keys.js";
import { type TokenIssuer, TokenRefused, type UnverifiedToken, type Verification } from "./token-issuer.js";

/** Three parts of base64url: a signed token in the compact form. */
const COMPACT = /^[A-Za-z0-9_-]{2,}\.[A-Za-z0-9_-]{2,}\.[A-Za-z0-9_-]{2,}$/;

/** Tokens of ServiceAccounts have 1,200 characters, those with many groups several thousand. Heads of requests have at most 16 KiB. */
const MAX_LENGTH = 12_000;

/** 10,000 verified tokens take about 5 MB. */
const MAX_VERIFIED = 10_000;

/** Refused tokens are remembered, so that a client that repeats one costs neither a verification nor a request to its issuer. */
const MAX_REFUSED = 1_000;
const REFUSED_MS = 10_000;

/** Verifications that run concurrently. They take 0.1 ms each, or as long as an issuer needs to answer. */
const MAX_RUNNING = 1_000;

/** A token whose confirmation failed because its issuer did not answer is confirmed again after this time. */
const CONFIRM_RETRY_MS = 10_000;

export interface TokenVerifierOptions {
  /** Issuers by the exact claim `iss` of their tokens. */
  readonly issuers: ReadonlyMap<string, TokenIssuer>;
  /** Verifies tokens that name no issuer of `issuers`; undefined: they are refused. */
  readonly otherwise: TokenIssuer | undefined;
  readonly clock: Clock;
}

interface Verified extends Verification {
  readonly issuer: TokenIssuer;
}

/** Verifies tokens of several issuers and remembers the outcomes by the tokens' digests. */
export class TokenVerifier {
  readonly #options: TokenVerifierOptions;
  readonly #verified = new BoundedMap<string, Verified>(MAX_VERIFIED);
  readonly #refused = new BoundedMap<string, { readonly refusal: TokenRefused; readonly untilMs: number }>(MAX_REFUSED);
  readonly #running = new SingleFlight<string, Verified>();

  constructor(options: TokenVerifierOptions) {
    this.#options = options;
  }

  /** Whether a text has the form of a signed token. Others are no business of this verifier. */
  static recognizes(text: string): boolean {
    return text.length <= MAX_LENGTH && COMPACT.test(text);
  }

  /** Grows whenever earlier verifications must be repeated. */
  get revision(): number {
    let revision = 0;
    for (const issuer of this.#issuers()) revision += issuer.revision;
    return revision;
  }

  /** Verifies a token, at once if the outcome is remembered. Throws, or rejects with, TokenRefused. */
  verify(text: string): Verification | Promise<Verification> {
    const digest = hash("sha256", text, "base64");
    const nowMs = this.#options.clock.nowMs();
    const verified = this.#verified.get(digest);
    if (verified !== undefined && nowMs < verified.validUntilMs && verified.revision === verified.issuer.revision) {
      if (verified.confirmAtMs !== undefined && nowMs >= verified.confirmAtMs) this.#confirm(digest, text, verified, nowMs);
      return verified;
    }
    const refused = this.#refused.get(digest);
    if (refused !== undefined && nowMs < refused.untilMs) throw refused.refusal;
    return this.#verify(digest, text);
  }

  *#issuers(): Iterable<TokenIssuer> {
    yield* this.#options.issuers.values();
    if (this.#options.otherwise !== undefined) yield this.#options.otherwise;
  }

  #verify(digest: string, text: string): Promise<Verification> {
    if (this.#running.size >= MAX_RUNNING && this.#running.running(digest) === undefined)
      return Promise.reject(new TokenRefused("unavailable", "too many tokens are being verified: try again"));
    return this.#running.run(digest, () => this.#verifyNow(digest, text));
  }

  async #verifyNow(digest: string, text: string): Promise<Verified> {
    try {
      const token = parse(text);
      const issuer = this.#options.issuers.get(token.claims.iss ?? "") ?? this.#options.otherwise;
      if (issuer === undefined) throw new TokenRefused("invalid", "the token's issuer is not accepted");
      const verified: Verified = { ...(await issuer.verify(token)), issuer };
      this.#verified.set(digest, verified);
      return verified;
    } catch (error) {
      const refusal =
        error instanceof TokenRefused ? error : new TokenRefused("invalid", "the token is malformed", { cause: error });
      if (refusal.kind !== "unavailable") this.#verified.delete(digest);
      if (refusal.kind === "invalid") this.#refused.set(digest, { refusal, untilMs: this.#options.clock.nowMs() + REFUSED_MS });
      throw refusal;
    }
  }

  /** Verifies again in the background. Meanwhile, and while the issuer does not answer, the token is accepted. */
  #confirm(digest: string, text: string, verified: Verified, nowMs: number): void {
    this.#verified.set(digest, { ...verified, confirmAtMs: nowMs + CONFIRM_RETRY_MS });
    this.#verify(digest, text).catch(() => {});
  }
}

/** Parses a token without verifying it. Throws if it is malformed or its algorithm is not accepted. */
function parse(text: string): UnverifiedToken {
  const header = decodeProtectedHeader(text);
  if (!ALGORITHMS.includes(header.alg ?? "")) throw new TokenRefused("invalid", "the token's algorithm is not accepted");
  const claims = decodeJwt(text);
  if (claims.iss !== undefined && typeof claims.iss !== "string")
    throw new TokenRefused("invalid", "the token's issuer is not a text");
  return { text, header, claims };
}
