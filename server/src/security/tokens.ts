import { createHash, timingSafeEqual } from "node:crypto";

/** What a request without a known token is told, on either listener. */
export const WRONG_TOKEN = "no known token: send Authorization: Bearer with one of the member's tokens (--auth-token-file)";

/** As RFC 6750 writes bearer tokens. */
const FORM = /^[A-Za-z0-9._~+/-]+=*$/;

/** 16 characters of base64 are 96 bits: nobody guesses them over a network. */
const MIN_LENGTH = 16;
const MAX_LENGTH = 1_024;
const MAX_TOKENS = 100;

/** The tokens that open the door: several at a time, so that a new one can be handed out before the old one goes. */
export class Tokens {
  readonly #digests: readonly Buffer[];

  private constructor(private readonly tokens: readonly string[]) {
    this.#digests = tokens.map(digest);
  }

  /** A file's text, one token a line; empty lines don't count. Throws an Error that names a line and never what stands in it. */
  static parse(text: string): Tokens {
    const tokens = text.split("\n").flatMap((line, at) => {
      const token = line.trim();
      if (token !== "" && (!FORM.test(token) || token.length > MAX_LENGTH)) {
        throw new Error(`line ${at + 1} holds no token: write one of up to ${MAX_LENGTH} characters of A-Z a-z 0-9 . _ ~ + / -`);
      }
      if (token !== "" && token.length < MIN_LENGTH) {
        throw new Error(
          `the token in line ${at + 1} is too short: write at least ${MIN_LENGTH} characters that nobody can guess`,
        );
      }
      return token === "" ? [] : [token];
    });
    if (tokens.length === 0) throw new Error("it holds no token: write one a line");
    if (tokens.length > MAX_TOKENS) throw new Error(`it holds more than ${MAX_TOKENS} tokens: take old ones out`);
    return new Tokens(tokens);
  }

  /** The token that this member shows to others: the first one. */
  get own(): string {
    return this.tokens[0]!;
  }

  /**
   * Whether an Authorization header shows a known token: as `Bearer <token>`, or as the access key's id of an S3 client's
   * signature, since S3's clients can send nothing else. Takes as long for a nearly right one as for a wrong one: digests are
   * compared, all of them, and each to its end.
   */
  admits(authorization: string | undefined): boolean {
    const shown = authorization === undefined ? undefined : shownToken(authorization);
    if (shown === undefined) return false;
    const wanted = digest(shown);
    let known = false;
    for (const each of this.#digests) known = timingSafeEqual(each, wanted) || known;
    return known;
  }
}

function digest(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}

function shownToken(authorization: string): string | undefined {
  if (authorization.length > 2 * MAX_LENGTH) return undefined;
  return (/^Bearer +(\S+)$/i.exec(authorization) ?? /^AWS4-HMAC-SHA256 +Credential=([^\s/,]+)\//.exec(authorization))?.[1];
}
