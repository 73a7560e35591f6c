import type { JWTPayload } from "jose";
import type { OidcIssuerRule } from "../../config/token-issuers.js";
import { type TokenIdentity, TokenRefused } from "./token-issuer.js";

/** How the claims of an issuer's tokens become a principal. */
export type ClaimRules = Pick<OidcIssuerRule, "nameClaim" | "namePrefix" | "groupsClaim" | "groupsPrefix">;

const MAX_NAME_LENGTH = 512;
const MAX_GROUPS = 500;

/** Names that only Kubernetes' own issuer, or a certificate, can prove. */
const RESERVED = /^(?:system:|URI:|CN=|email:|DNS:|OU?=)/;

/** Control characters and surrogates without a partner, which names in logs and grants do not have. */
const UNPRINTABLE = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/u;

/** Returns the identity in verified claims. Throws TokenRefused if they contain no usable name. */
export function identityOf(claims: JWTPayload, rules: ClaimRules): TokenIdentity {
  const { nameClaim, namePrefix, groupsClaim, groupsPrefix } = rules;
  const name = ownClaim(claims, nameClaim);
  if (!isName(name)) throw new TokenRefused("invalid", `the token's claim ${nameClaim} is not a name`);
  // Some issuers let users choose an address before they prove to own it.
  if (nameClaim === "email" && ownClaim(claims, "email_verified") === false)
    throw new TokenRefused("invalid", "the token's issuer has not verified the address in the claim email");
  const groups = groupsClaim === undefined ? [] : groupsIn(ownClaim(claims, groupsClaim), groupsClaim);
  return {
    name: unreserved(namePrefix + name),
    groups: groups.map((group) => unreserved(groupsPrefix + group)),
  };
}

/** A token with more groups, or with others than strings, is refused: a part of the groups would be a wrong answer. */
function groupsIn(value: unknown, claim: string): string[] {
  const groups = value === undefined || value === null ? [] : Array.isArray(value) ? value : [value];
  if (groups.length <= MAX_GROUPS && groups.every(isName)) return groups;
  throw new TokenRefused("invalid", `the token's claim ${claim} is not a list of at most ${MAX_GROUPS} group names`);
}

function ownClaim(claims: JWTPayload, claim: string): unknown {
  return Object.hasOwn(claims, claim) ? claims[claim] : undefined;
}

function isName(value: unknown): value is string {
  return typeof value === "string" && value !== "" && value.length <= MAX_NAME_LENGTH && !UNPRINTABLE.test(value);
}

function unreserved(name: string): string {
  if (RESERVED.test(name)) throw new TokenRefused("invalid", "a name or group of the token is reserved: use a prefix");
  return name;
}

/** The subject of a ServiceAccount token: its namespace and name, both with the characters of DNS names. */
const SERVICE_ACCOUNT = /^system:serviceaccount:([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?):([a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)$/;

/** Returns the identity of a Kubernetes ServiceAccount, as the API server names it and its groups; undefined for another name. */
export function serviceAccountOf(name: unknown): TokenIdentity | undefined {
  const namespace = typeof name === "string" ? SERVICE_ACCOUNT.exec(name)?.[1] : undefined;
  if (namespace === undefined) return undefined;
  const groups = ["system:serviceaccounts", `system:serviceaccounts:${namespace}`, "system:authenticated"];
  return { name: name as string, groups };
}
