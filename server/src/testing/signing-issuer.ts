import { type CryptoKey, exportJWK, generateKeyPair, type JWK, type JWTHeaderParameters, type JWTPayload, SignJWT } from "jose";
import { type SigningKeys, signingKeys } from "../security/tokens/signing-keys.js";

/** Changes of a token of the issuer. */
export interface TokenWish {
  readonly claims?: JWTPayload;
  /** A parameter of undefined is left out. */
  readonly header?: Readonly<Record<string, unknown>>;
}

/** An issuer of tokens, with keys that can be rotated. It publishes its keys without a network. */
export class SigningIssuer {
  readonly issuer: string;
  readonly #nowMs: () => number;
  readonly #algorithm: string;
  #key: CryptoKey;
  #kid: string;
  #published: JWK[];
  /** Whether a request for the keys fails. */
  isDown = false;
  /** Requests for the keys are answered after this. */
  answersAfter: Promise<void> = Promise.resolve();
  /** Requests for the keys. */
  requests = 0;

  private constructor(issuer: string, nowMs: () => number, key: CryptoKey, published: JWK) {
    this.issuer = issuer;
    this.#nowMs = nowMs;
    this.#key = key;
    this.#kid = published.kid!;
    this.#algorithm = published.alg!;
    this.#published = [published];
  }

  static async create(issuer: string, nowMs: () => number, algorithm = "ES256"): Promise<SigningIssuer> {
    const { privateKey, jwk } = await newKey("key-1", algorithm);
    return new SigningIssuer(issuer, nowMs, privateKey, jwk);
  }

  /** The key set that it publishes. */
  get keySet(): { readonly keys: readonly JWK[] } {
    return { keys: this.#published };
  }

  /** Signs with a new key from now on. `keep`: the old keys stay published. */
  async rotate(keep: boolean): Promise<void> {
    const { privateKey, jwk } = await newKey(`key-${Number(this.#kid.slice(4)) + 1}`, this.#algorithm);
    this.#key = privateKey;
    this.#kid = jwk.kid!;
    this.#published = keep ? [...this.#published, jwk] : [jwk];
  }

  /** Publishes other keys, whatever they are. */
  publish(keys: JWK[]): void {
    this.#published = keys;
  }

  /** Loads the keys as a member does. */
  async load(): Promise<SigningKeys> {
    this.requests++;
    await this.answersAfter;
    if (this.isDown) throw new Error("connection refused");
    return signingKeys(this.issuer, this.keySet);
  }

  /** A token for the audience `frontcache` and the subject `reader`, valid for ten minutes. A claim of undefined is left out. */
  sign({ claims = {}, header = {} }: TokenWish = {}): Promise<string> {
    const nowS = Math.floor(this.#nowMs() / 1_000);
    const payload = { iss: this.issuer, aud: "frontcache", sub: "reader", iat: nowS, nbf: nowS, exp: nowS + 600, ...claims };
    const defined = Object.fromEntries(Object.entries(payload).filter(([, value]) => value !== undefined));
    const shown = { alg: this.#algorithm, kid: this.#kid, ...header };
    return new SignJWT(defined).setProtectedHeader(shown as JWTHeaderParameters).sign(this.#key);
  }
}

async function newKey(kid: string, alg: string): Promise<{ readonly privateKey: CryptoKey; readonly jwk: JWK }> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  return { privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg, use: "sig" } };
}
