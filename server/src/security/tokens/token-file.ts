import { createHash, timingSafeEqual } from "node:crypto";
import type { Authenticated, Authenticator, PresentedRequest } from "../authenticator.js";
import { clientPrincipal } from "../principal.js";
import { presentedToken } from "./presented-token.js";

/** The syntax of bearer tokens (RFC 6750). */
const TOKEN = /^[A-Za-z0-9._~+/-]+=*$/;

/** 16 characters of base64 are 96 bits, too many to guess over a network. */
const MIN_LENGTH = 16;
const MAX_LENGTH = 1_024;
const MAX_TOKENS = 100;

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
