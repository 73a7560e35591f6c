import { readFile } from "node:fs/promises";
import { isLoopback, type OidcIssuerRule } from "../../config/token-issuers.js";
import type { Clock } from "../../runtime/clock.js";
import { requestText } from "../../runtime/http-text.js";
import { identityOf } from "./claims.js";
import { IssuerKeys, type IssuerPorts } from "./issuer-keys.js";
import { jsonObject } from "./json-object.js";
import { ACCEPTED_TYPES, type SigningKeys, signingKeys, validUntilMs } from "./signing-keys.js";
import type { TokenIssuer, UnverifiedToken, Verification } from "./token-issuer.js";

/** Verifies the tokens of one OpenID Connect issuer by the keys that it publishes. */
export class OidcIssuer implements TokenIssuer {
  readonly #rule: OidcIssuerRule;
  readonly #clock: Clock;
  readonly #keys: IssuerKeys;

  /** Starts to load the keys. `load` replaces the requests to the issuer. */
  constructor(rule: OidcIssuerRule, ports: IssuerPorts, load = (signal: AbortSignal) => loadKeys(rule, signal)) {
    const { issuer, audiences } = rule;
    this.#rule = rule;
    this.#clock = ports.clock;
    this.#keys = new IssuerKeys({ subject: issuer, audiences, load }, ports);
  }

  get revision(): number {
    return this.#keys.revision;
  }

  async verify(token: UnverifiedToken): Promise<Verification> {
    const { claims, revision } = await this.#keys.verify(token);
    const identity = identityOf(claims!, this.#rule);
    return { identity, revision, validUntilMs: validUntilMs(claims!, this.#clock.nowMs()) };
  }

  close(): Promise<void> {
    return this.#keys.close();
  }
}

/** Both requests together take at most twice this time. */
const TIMEOUT_MS = 5_000;

/** Discovery documents have up to 10 KB, key sets 2 KB a key. */
const MAX_BYTES = 256 << 10;

/** Requests the discovery document of an issuer, then its keys. Rejects unless both are valid. */
async function loadKeys({ issuer, ca: file }: OidcIssuerRule, signal: AbortSignal): Promise<SigningKeys> {
  const ca = file === undefined ? undefined : await readFile(file, "utf8");
  const get = (url: URL): Promise<Readonly<Record<string, unknown>>> => getJson({ url, ca, signal });
  const document = await get(new URL(`${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`));
  if (document.issuer !== issuer) throw new Error("its discovery document names another issuer");
  return signingKeys(issuer, await get(keySetUrl(issuer, document.jwks_uri)));
}

/** Keys that come over an unprotected connection prove nothing, so plain HTTP is allowed on this host alone. */
function keySetUrl(issuer: string, given: unknown): URL {
  const url = typeof given === "string" && URL.canParse(given) ? new URL(given) : undefined;
  if (url?.protocol === "https:" || (url?.protocol === "http:" && new URL(issuer).protocol === "http:" && isLoopback(url)))
    return url;
  throw new Error("the jwks_uri of its discovery document is not an https URL");
}

interface JsonRequest {
  readonly url: URL;
  readonly ca: string | undefined;
  readonly signal: AbortSignal;
}

async function getJson({ url, ca, signal }: JsonRequest): Promise<Readonly<Record<string, unknown>>> {
  const options = { headers: { accept: ACCEPTED_TYPES }, ...(ca !== undefined && { ca }) };
  const { status, text } = await requestText({ url, options, timeoutMs: TIMEOUT_MS, maxBytes: MAX_BYTES, signal });
  if (status !== 200) throw new Error(`${url.origin}${url.pathname} answered ${status}`);
  return jsonObject(text, `${url.origin}${url.pathname}`);
}
