import { createHash, timingSafeEqual } from "node:crypto";
import { Query } from "../runtime/query.js";
import type { Authenticated, Authenticator, PresentedRequest } from "./authenticator.js";
import { clientPrincipal } from "./principal.js";
import { mayBePresigned, presignedIn } from "./signatures/presigned.js";

/** The message for a request without a valid token, on either listener. */
export const WRONG_TOKEN = "missing or unknown token: send Authorization: Bearer with a token of the member's --auth-token-file";

/** The syntax of bearer tokens (RFC 6750). */
const TOKEN = /^[A-Za-z0-9._~+/-]+=*$/;

/** Basic authentication (RFC 7617). Limits for the password are those for tokens. */
const BASIC = /^Basic +([A-Za-z0-9+/]+=*)$/i;

/** 16 characters of base64 are 96 bits, too many to guess over a network. */
const MIN_LENGTH = 16;
const MAX_LENGTH = 1_024;
const MAX_TOKENS = 100;
/** Tokens of other issuers are longer than those of the file. A head has at most 16 KiB. */
const MAX_HEADER_LENGTH = 14_000;

/** The tokens that members accept. Several are valid at a time, so that clients can change to a new one before the old one is removed. */
export class Tokens {
  readonly #tokens: readonly string[];
  readonly #digests: readonly Buffer[];

  private constructor(tokens: readonly string[]) {
    this.#tokens = tokens;
    this.#digests = tokens.map(digest);
  }

  /** Parses a file with one token per line; empty lines are ignored. Throws an Error that names the line and never its content. */
  static parse(text: string): Tokens {
    const tokens = text.split("\n").flatMap((line, at) => {
      const token = line.trim();
      if (token !== "" && (!TOKEN.test(token) || token.length > MAX_LENGTH)) {
        throw new Error(`line ${at + 1} is not a valid token: use at most ${MAX_LENGTH} characters of A-Z a-z 0-9 . _ ~ + / -`);
      }
      if (token !== "" && token.length < MIN_LENGTH) {
        throw new Error(`the token in line ${at + 1} is too short: use at least ${MIN_LENGTH} random characters`);
      }
      return token === "" ? [] : [token];
    });
    if (tokens.length === 0) throw new Error("the file contains no token: write one per line");
    if (tokens.length > MAX_TOKENS) throw new Error(`the file contains more than ${MAX_TOKENS} tokens: remove old ones`);
    return new Tokens(tokens);
  }

  /** The token that this member sends to other members: the first one. */
  get own(): string {
    return this.#tokens[0]!;
  }

  /** Whether a token is valid. The time does not depend on how much of it is right: all digests are compared, each to its end. */
  has(token: string): boolean {
    const sent = digest(token);
    let known = false;
    for (const each of this.#digests) known = timingSafeEqual(each, sent) || known;
    return known;
  }
}

/** Everybody who presents a token of `--auth-token-file`. */
const TOKEN_HOLDER: Authenticated = {
  principal: clientPrincipal("token-holder", "token"),
  untilMs: Number.POSITIVE_INFINITY,
};

/** Authenticates whoever presents a token of the file as one principal. */
export class TokenFileAuthenticator implements Authenticator {
  readonly #file: { readonly current: Tokens; readonly revision: number };

  constructor(file: { readonly current: Tokens; readonly revision: number }) {
    this.#file = file;
  }

  get revision(): number {
    return this.#file.revision;
  }

  authenticate(request: PresentedRequest): Authenticated | undefined {
    const token = presentedToken(request);
    return token !== undefined && this.#file.current.has(token) ? TOKEN_HOLDER : undefined;
  }
}

/** The SHA-256 of a token. */
function digest(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}

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
