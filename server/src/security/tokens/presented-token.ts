import { Query } from "../../runtime/query.js";
import type { PresentedRequest } from "../authenticator.js";
import { mayBePresigned, presignedIn } from "../signatures/presigned.js";

/** The message for a request without a valid token, on either listener. */
export const WRONG_TOKEN = "missing or unknown token: send Authorization: Bearer with a token of the member's --auth-token-file";

/** Basic authentication (RFC 7617). Limits for the password are those for tokens. */
const BASIC = /^Basic +([A-Za-z0-9+/]+=*)$/i;

/** Tokens of other issuers are longer than those of the file. A head has at most 16 KiB. */
const MAX_HEADER_LENGTH = 14_000;

/** Where an Authorization header has the token. The id of an access key may contain slashes, and ends before the date of its scope. */
const FORMS = [
  /^Bearer +(\S+)$/i,
  /^AWS4-(?:HMAC-SHA256|ECDSA-P256-SHA256) +Credential=([^\s,]+)\/\d{8}\/(?:[^\s,/]+\/)?[^\s,/]+\/aws4_request(?:,|\s|$)/,
  /^AWS +([^\s:]+):/,
];

/**
 * The token that a request presents: as `Authorization: Bearer <token>`, or as the access key ID of an S3 signature, in a header or in
 * the query of a presigned URL, because S3 clients cannot send anything else.
 */
export function presentedToken({ headers, url = "" }: PresentedRequest): string | undefined {
  const { authorization } = headers;
  if (authorization !== undefined) return tokenIn(authorization);
  return mayBePresigned(url) ? presignedIn(new Query(url.slice(url.indexOf("?") + 1)))?.accessKeyId : undefined;
}

function tokenIn(authorization: string): string | undefined {
  if (authorization.length > MAX_HEADER_LENGTH) return undefined;
  for (const form of FORMS) {
    const token = form.exec(authorization)?.[1];
    if (token !== undefined) return token;
  }
  return undefined;
}

/**
 * Converts the Basic authentication of a browser to a Bearer header: the password is the token, the user name is ignored.
 * Returns undefined for any other header.
 */
export function bearerFromBasic(authorization: string | undefined): string | undefined {
  const encoded = BASIC.exec(authorization ?? "")?.[1];
  if (encoded === undefined) return undefined;
  const credentials = Buffer.from(encoded, "base64").toString("latin1");
  const colon = credentials.indexOf(":");
  return colon < 0 ? undefined : `Bearer ${credentials.slice(colon + 1)}`;
}
