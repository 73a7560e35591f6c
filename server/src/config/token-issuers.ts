import { certificateFile } from "./certificate-file.js";
import type { MappingReader } from "./mapping-reader.js";
import { line, type Parser, wrong } from "./parser.js";

/** An OpenID Connect issuer whose tokens are accepted. */
export interface OidcIssuerRule {
  /** Its URL, exactly as in the claim `iss`. Its discovery document is at `/.well-known/openid-configuration` below it. */
  readonly issuer: string;
  /** One of them must be in a token's claim `aud`. */
  readonly audiences: readonly string[];
  /** File of the authorities (PEM) of the issuer's certificate; undefined: Node's. */
  readonly ca: string | undefined;
  /** The claim with the name. */
  readonly nameClaim: string;
  /** Begins each name. Without a prefix, an issuer can name the principals of other issuers and of the identities file. */
  readonly namePrefix: string;
  /** The claim with a group or a list of groups; undefined: tokens prove no groups. */
  readonly groupsClaim: string | undefined;
  readonly groupsPrefix: string;
}

/** The tokens that are accepted besides static ones. */
export interface TokenIssuerRules {
  readonly oidc: readonly OidcIssuerRule[];
  /** ServiceAccounts of the member's own cluster; undefined: their tokens are refused. */
  readonly kubernetes: { readonly audiences: readonly string[] } | undefined;
}

/** The audience that most clusters and issuers are configured to put into tokens for this cache. */
const DEFAULT_AUDIENCE = "frontcache";

const MAX_ISSUERS = 20;
const MAX_AUDIENCES = 20;

/**
 * Reads the issuers of the identities file. All problems are collected.
 *
 *     kubernetes:                                # tokens of the cluster's ServiceAccounts: system:serviceaccount:<namespace>:<name>
 *       audience: frontcache                     # one or a list; default: frontcache
 *     issuers:                                   # OpenID Connect
 *       - issuer: https://accounts.example.com   # exactly as in the claim iss
 *         audience: frontcache                   # one or a list; default: frontcache
 *         ca: /etc/issuer/ca.pem                 # authorities of the issuer's certificate; default: Node's
 *         nameClaim: email                       # default: sub
 *         namePrefix: "example:"                 # default: the issuer and #
 *         groupsClaim: groups                    # default: none
 *         groupsPrefix: "example:"               # default: as namePrefix
 */
export function readTokenIssuers(file: MappingReader): TokenIssuerRules {
  const kubernetes = file.nested("kubernetes");
  const audiences = kubernetes === undefined ? [] : readAudiences(kubernetes);
  kubernetes?.end();
  const list = file.take("issuers") ?? [];
  if (!Array.isArray(list) || list.length > MAX_ISSUERS) {
    file.note("issuers", `is not a list of at most ${MAX_ISSUERS} issuers: use - issuer: https://...`);
    return { oidc: [], kubernetes: undefined };
  }
  const oidc = list.map((entry, at) => readIssuer(file.at(`issuers[${at}]`, entry)));
  for (const [at, { issuer }] of oidc.entries())
    if (oidc.findIndex((other) => other.issuer === issuer) < at && issuer !== "")
      file.note(`issuers[${at}].issuer`, "the same issuer comes before: use one entry for each");
  return { oidc, kubernetes: kubernetes === undefined ? undefined : { audiences } };
}

function readIssuer(rule: MappingReader): OidcIssuerRule {
  if (!rule.has("issuer")) rule.note("issuer", "missing: use the URL in the claim iss of the issuer's tokens");
  const issuer = rule.parsed("issuer", issuerUrl) ?? "";
  const namePrefix = rule.parsed("namePrefix", prefix) ?? `${issuer}#`;
  const read = {
    issuer,
    audiences: readAudiences(rule),
    ca: rule.parsed("ca", certificateFile),
    nameClaim: rule.parsed("nameClaim", claim) ?? "sub",
    namePrefix,
    groupsClaim: rule.parsed("groupsClaim", claim),
    groupsPrefix: rule.parsed("groupsPrefix", prefix) ?? namePrefix,
  };
  rule.end();
  return read;
}

function readAudiences(rule: MappingReader): readonly string[] {
  const value = rule.take("audience");
  const texts: unknown[] = Array.isArray(value) ? value : value === undefined ? [DEFAULT_AUDIENCE] : [value];
  const isValid = texts.length > 0 && texts.length <= MAX_AUDIENCES && texts.every(isAudience);
  if (!isValid) rule.note("audience", `is not an audience, or a list of at most ${MAX_AUDIENCES}: use a text without spaces`);
  return isValid ? (texts as string[]) : [];
}

function isAudience(value: unknown): boolean {
  return typeof value === "string" && /^[\x21-\x7e]{1,500}$/.test(value);
}

/** Keys that come over an unprotected connection prove nothing, so plain HTTP is allowed on this host alone. */
const issuerUrl: Parser<string> = {
  unit: "URL",
  parse(text) {
    const url = /^https?:\/\/[^\s?#@]+$/.test(text) && URL.canParse(text) ? new URL(text) : undefined;
    if (url === undefined || (url.protocol === "http:" && !isLoopback(url))) throw wrong(text, "an issuer", "https://host/path");
    return text;
  },
};

/** Whether a URL is of this host. */
export function isLoopback({ hostname }: URL): boolean {
  return hostname === "localhost" || hostname === "[::1]" || /^127(?:\.\d+){3}$/.test(hostname);
}

const claim = line("name of a claim");

/** May be empty. */
const prefix: Parser<string> = { unit: "text", parse: (text) => (text === "" ? "" : line("text").parse(text)) };
