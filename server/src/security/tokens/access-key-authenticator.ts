import { ACCESS_KEY_TOKEN_LIFETIME_MS, CacheError, isSignedBy, parseAccessKeyToken } from "@frontcache/proto";
import type { Clock } from "../../runtime/clock.js";
import type { Authenticated, Authenticator, PresentedRequest } from "../authenticator.js";
import type { IdentitiesFile } from "../identities/identity-tokens.js";
import { presentedToken } from "./presented-token.js";

/** How far a client's clock may be ahead. S3's limit for signatures. */
const MAX_SKEW_MS = 15 * 60_000;

const REFUSED = "the token by an access key is not accepted: check the key, the secret and the clock";

/**
 * Authenticates clients by tokens that they signed with an access key of the identities file, for protocols whose requests are not
 * signed.
 */
export class AccessKeyAuthenticator implements Authenticator {
  readonly #file: IdentitiesFile;
  readonly #clock: Pick<Clock, "nowMs">;

  constructor(file: IdentitiesFile, clock: Pick<Clock, "nowMs">) {
    this.#file = file;
    this.#clock = clock;
  }

  get revision(): number {
    return this.#file.revision;
  }

  authenticate(request: PresentedRequest): Authenticated | undefined {
    const text = presentedToken(request);
    const token = text === undefined ? undefined : parseAccessKeyToken(text);
    if (token === undefined) return undefined;
    const { accessKeyId, signedAtMs, lifetimeMs, sessionToken } = token;
    const key = this.#file.current.accessKeys.get(accessKeyId);
    const nowMs = this.#clock.nowMs();
    const untilMs = signedAtMs + lifetimeMs;
    const isTimely = lifetimeMs <= ACCESS_KEY_TOKEN_LIFETIME_MS && signedAtMs <= nowMs + MAX_SKEW_MS && nowMs < untilMs;
    const isRight = key !== undefined && isSignedBy(token, key.secretAccessKey) && sessionToken === key.sessionToken;
    if (!isRight || !isTimely) throw new CacheError("UNAUTHENTICATED", REFUSED);
    return { principal: key.authenticated.principal, untilMs };
  }
}
