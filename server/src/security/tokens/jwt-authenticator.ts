import { CacheError } from "@frontcache/proto";
import type { TokenIssuerRules } from "../../config/token-issuers.js";
import type { KubeAccess } from "../../kubernetes/kube-access.js";
import type { Authenticated, Authenticator, PresentedRequest } from "../authenticator.js";
import { clientPrincipal } from "../principal.js";
import type { IssuerPorts } from "./issuer-keys.js";
import { KubernetesIssuer } from "./kubernetes-issuer.js";
import { OidcIssuer } from "./oidc-issuer.js";
import { presentedToken } from "./presented-token.js";
import { serviceAccountApi } from "./service-account-api.js";
import { type TokenIssuer, TokenRefused, type Verification } from "./token-issuer.js";
import { TokenVerifier } from "./token-verifier.js";

export interface JwtAuthenticatorOptions extends IssuerPorts {
  /** The Kubernetes API server; called before each of its requests. */
  readonly openAccess: () => Promise<KubeAccess>;
  readonly rules: TokenIssuerRules;
}

/** An issuer in use, by the rule that made it. */
type Issuers = ReadonlyMap<string, TokenIssuer>;

/** Authenticates clients by JSON web tokens of the configured issuers, as bearer tokens or as the access key IDs of S3 clients. */
export class JwtAuthenticator implements Authenticator {
  readonly #options: JwtAuthenticatorOptions;
  #issuers: Issuers = new Map();
  #verifier: TokenVerifier;
  /** What the revisions of verifiers that are no longer used add up to. */
  #pastRevisions = 0;
  readonly #closing = new Set<Promise<void>>();

  constructor(options: JwtAuthenticatorOptions) {
    this.#options = options;
    this.#verifier = this.#open(options.rules);
  }

  get revision(): number {
    return this.#pastRevisions + this.#verifier.revision;
  }

  /** Replaces the rules. Issuers whose rule has not changed keep their keys. */
  use(rules: TokenIssuerRules): void {
    const before = this.revision;
    const past = this.#issuers;
    this.#verifier = this.#open(rules);
    this.#pastRevisions = before + 1;
    for (const [rule, issuer] of past) if (!this.#issuers.has(rule)) this.#close(issuer);
  }

  authenticate(request: PresentedRequest): Authenticated | undefined | Promise<Authenticated | undefined> {
    const token = presentedToken(request);
    if (token === undefined || !TokenVerifier.recognizes(token)) return undefined;
    try {
      const found = this.#verifier.verify(token);
      return found instanceof Promise ? found.then(authenticated, refuse) : authenticated(found);
    } catch (error) {
      return refuse(error);
    }
  }

  /** Stops requests to the issuers; resolves when they have ended. */
  async close(): Promise<void> {
    for (const issuer of this.#issuers.values()) this.#close(issuer);
    await Promise.all(this.#closing);
  }

  /** A verifier for the rules. It takes over the issuers that are in use. */
  #open({ oidc, kubernetes }: TokenIssuerRules): TokenVerifier {
    const opened = new Map<string, TokenIssuer>();
    const issuerOf = (rule: unknown, open: () => TokenIssuer): TokenIssuer => {
      const key = JSON.stringify(rule);
      const issuer = this.#issuers.get(key) ?? open();
      opened.set(key, issuer);
      return issuer;
    };
    const { openAccess, ...ports } = this.#options;
    const issuers = new Map(oidc.map((rule) => [rule.issuer, issuerOf(rule, () => new OidcIssuer(rule, ports))]));
    const otherwise =
      kubernetes &&
      issuerOf(kubernetes, () => new KubernetesIssuer({ api: serviceAccountApi(openAccess), ...kubernetes }, ports));
    this.#issuers = opened;
    return new TokenVerifier({ issuers, otherwise, clock: this.#options.clock });
  }

  #close(issuer: TokenIssuer): void {
    const closed = issuer.close().finally(() => this.#closing.delete(closed));
    this.#closing.add(closed);
  }
}

/** One principal a verification: grants are looked up once for each. */
const known = new WeakMap<Verification, Authenticated>();

function authenticated(verification: Verification): Authenticated {
  let found = known.get(verification);
  if (found === undefined) {
    const { identity, validUntilMs, confirmAtMs = validUntilMs } = verification;
    const principal = clientPrincipal(identity.name, "jwt", identity.groups);
    found = { principal, untilMs: Math.min(validUntilMs, confirmAtMs) };
    known.set(verification, found);
  }
  return found;
}

function refuse(error: unknown): never {
  if (!(error instanceof TokenRefused)) throw error;
  throw new CacheError(error.kind === "unavailable" ? "UNAVAILABLE" : "UNAUTHENTICATED", error.message, { cause: error });
}
