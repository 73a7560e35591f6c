import { createHmac, generateKeyPairSync, sign } from "node:crypto";
import { ManualClock } from "@frontcache/proto/testing";
import { base64url, type JWK } from "jose";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { OidcIssuerRule } from "../../config/token-issuers.js";
import { SigningIssuer } from "../../testing/signing-issuer.js";
import { silentLog } from "../../testing/silent-ports.js";
import { OidcIssuer } from "./oidc-issuer.js";
import type { RefusalKind, TokenIdentity } from "./token-issuer.js";
import { TokenVerifier } from "./token-verifier.js";

const ISSUER = "https://issuer.example";

const rule: OidcIssuerRule = {
  issuer: ISSUER,
  audiences: ["frontcache", "other-cache"],
  ca: undefined,
  nameClaim: "sub",
  namePrefix: "example:",
  groupsClaim: "groups",
  groupsPrefix: "example:",
};

let clock: ManualClock;
let issuer: SigningIssuer;
let accepted: OidcIssuer | undefined;
let verifier: TokenVerifier;

beforeEach(async () => {
  clock = new ManualClock();
  issuer = await SigningIssuer.create(ISSUER, () => clock.nowMs());
  await start();
});

afterEach(async () => {
  await accepted?.close();
  accepted = undefined;
});

/** Begins again with an issuer that has another rule. */
async function start(change: Partial<OidcIssuerRule> = {}): Promise<void> {
  await accepted?.close();
  accepted = new OidcIssuer({ ...rule, ...change }, { clock, random: () => 0, log: silentLog }, () => issuer.load());
  verifier = new TokenVerifier({ issuers: new Map([[ISSUER, accepted]]), otherwise: undefined, clock });
}

/** The identity that a token proves, or the kind of its refusal. */
async function verify(token: string): Promise<TokenIdentity | RefusalKind> {
  try {
    return (await verifier.verify(token)).identity;
  } catch (error) {
    expect((error as Error).message).not.toContain(token.split(".")[2]);
    return (error as { readonly kind: RefusalKind }).kind;
  }
}

const seconds = (): number => Math.floor(clock.nowMs() / 1_000);

/** A token with any header and signature. */
function forged(header: object, claims: object, signature: string): string {
  const parts = [header, claims].map((part) => base64url.encode(JSON.stringify(part)));
  return [...parts, signature].join(".");
}

describe("a token", () => {
  it("proves the name and the groups of its claims, with the issuer's prefixes", async () => {
    expect(await verify(await issuer.sign({ claims: { groups: ["readers", "writers"] } }))).toEqual({
      name: "example:reader",
      groups: ["example:readers", "example:writers"],
    });
    expect(await verify(await issuer.sign({ claims: { groups: "readers" } }))).toMatchObject({ groups: ["example:readers"] });
    expect(await verify(await issuer.sign())).toEqual({ name: "example:reader", groups: [] });
  });

  it.each(["RS256", "PS384", "ES512", "EdDSA"])("is accepted with a signature by %s", async (algorithm) => {
    issuer = await SigningIssuer.create(ISSUER, () => clock.nowMs(), algorithm);
    await start();
    expect(await verify(await issuer.sign())).toMatchObject({ name: "example:reader" });
  });

  it("is accepted for any of the audiences, and within a minute around its times", async () => {
    expect(await verify(await issuer.sign({ claims: { aud: ["unknown", "other-cache"] } }))).toMatchObject({ groups: [] });
    expect(await verify(await issuer.sign({ claims: { nbf: seconds() + 59 } }))).toMatchObject({ groups: [] });
    expect(await verify(await issuer.sign({ claims: { exp: seconds() - 59 } }))).toMatchObject({ groups: [] });
  });

  it("is accepted without a key ID if one of the published keys verifies it", async () => {
    await issuer.rotate(true);
    const token = await issuer.sign({ header: { kid: undefined } });
    expect(await verify(token)).toMatchObject({ name: "example:reader" });
    const foreign = await SigningIssuer.create(ISSUER, () => clock.nowMs());
    expect(await verify(await foreign.sign({ header: { kid: undefined } }))).toBe("undecided");
  });

  it.each<[string, object]>([
    ["of another issuer", { iss: "https://other.example" }],
    ["of an issuer with a slash behind it", { iss: `${ISSUER}/` }],
    ["without an issuer", { iss: undefined }],
    ["with a list of issuers", { iss: [ISSUER] }],
    ["for another audience", { aud: "elsewhere" }],
    ["without an audience", { aud: undefined }],
    ["that has expired", { exp: 940 }],
    ["without an expiry", { exp: undefined }],
    ["with an expiry that is not a number", { exp: "2000" }],
    ["without a subject", { sub: undefined }],
    ["with an empty subject", { sub: "" }],
    ["with a subject that is an object", { sub: { name: "reader" } }],
    ["with a newline in its subject", { sub: "reader\nadmin" }],
    ["with a subject of 1,000 characters", { sub: "x".repeat(1_000) }],
    ["with groups that are no texts", { groups: ["readers", 1] }],
    ["with 501 groups", { groups: Array.from({ length: 501 }, (_, at) => `group-${at}`) }],
  ])("%s is refused", async (_what, claims) => {
    expect(await verify(await issuer.sign({ claims: claims as never }))).toBe("invalid");
  });

  it("that is not valid yet is refused, and accepted when its time has come", async () => {
    const token = await issuer.sign({ claims: { nbf: seconds() + 61 } });
    expect(await verify(token)).toBe("undecided");
    clock.advance(1_000);
    expect(await verify(token)).toMatchObject({ name: "example:reader" });
  });

  it("cannot name a principal of Kubernetes if the issuer has no prefix", async () => {
    await start({ namePrefix: "", groupsPrefix: "" });
    expect(await verify(await issuer.sign({ claims: { sub: "system:serviceaccount:a:b" } }))).toBe("invalid");
    expect(await verify(await issuer.sign({ claims: { groups: ["system:masters"] } }))).toBe("invalid");
  });

  it("is refused if its name is an address that the issuer has not verified", async () => {
    await start({ nameClaim: "email" });
    expect(await verify(await issuer.sign({ claims: { email: "a@b.example", email_verified: false } }))).toBe("invalid");
    expect(await verify(await issuer.sign({ claims: { email: "a@b.example", email_verified: true } }))).toMatchObject({
      name: "example:a@b.example",
    });
  });
});

describe("a forged token", () => {
  const claims = (): object => ({ iss: ISSUER, aud: "frontcache", sub: "admin", exp: seconds() + 600 });

  it.each(["none", "None", "NONE", "HS256", "HS512", "", "dir", "RSA-OAEP"])("is refused with the algorithm %j", async (alg) => {
    const unsigned = forged({ alg, kid: "key-1" }, claims(), "AAAA");
    expect(await verify(unsigned)).toBe("invalid");
  });

  it("is refused if a public key is used as a shared secret", async () => {
    const [key] = issuer.keySet.keys;
    const unsigned = forged({ alg: "HS256", kid: "key-1" }, claims(), "").slice(0, -1);
    for (const secret of [JSON.stringify(key), base64url.decode(key!.x!)]) {
      const signature = createHmac("sha256", secret).update(unsigned).digest("base64url");
      expect(await verify(`${unsigned}.${signature}`)).toBe("invalid");
    }
  });

  it("is refused if the issuer publishes a shared secret", async () => {
    issuer.publish([{ kty: "oct", k: "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0", kid: "key-1", alg: "HS256" }]);
    const unsigned = forged({ alg: "HS256", kid: "key-1" }, claims(), "").slice(0, -1);
    const secret = Buffer.from("secret-secret-secret-secret");
    expect(await verify(`${unsigned}.${createHmac("sha256", secret).update(unsigned).digest("base64url")}`)).toBe("invalid");
  });

  it("is refused if it brings its own key", async () => {
    const foreign = await SigningIssuer.create(ISSUER, () => clock.nowMs());
    const [own] = foreign.keySet.keys;
    expect(await verify(await foreign.sign({ header: { jwk: own as JWK } }))).toBe("invalid");
    expect(await verify(await foreign.sign({ header: { jku: "https://attacker.example/keys", kid: "key-1" } }))).toBe("invalid");
    expect(await verify(await foreign.sign({ header: { x5u: "https://attacker.example/key" } }))).toBe("invalid");
  });

  it("is refused if it requires an extension that is not known", async () => {
    const token = await issuer.sign();
    const [, body, signature] = token.split(".");
    const header = base64url.encode(JSON.stringify({ alg: "ES256", kid: "key-1", crit: ["exotic"], exotic: true }));
    expect(await verify([header, body, signature].join("."))).toBe("invalid");
  });

  it("is refused after a change of any of its parts", async () => {
    const token = await issuer.sign();
    const [header, , signature] = token.split(".");
    expect(await verify(`${header}.${base64url.encode(JSON.stringify(claims()))}.${signature}`)).toBe("invalid");
    for (const at of [3, token.indexOf(".") + 5, token.lastIndexOf(".") + 3]) {
      const changed = token.slice(0, at) + (token[at] === "A" ? "B" : "A") + token.slice(at + 1);
      expect(await verify(changed)).not.toHaveProperty("name");
    }
  });

  it("is refused if its parts are no JSON objects", async () => {
    for (const parts of [
      ["AAAA", "AAAA"],
      ["W10", "W10"],
      [base64url.encode('{"alg":"ES256"}'), "bnVsbA"],
    ])
      expect(await verify(`${parts.join(".")}.AAAA`)).toBe("invalid");
  });

  it("is refused with a small RSA key that the issuer publishes", async () => {
    const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 1_024 });
    issuer.publish([{ ...(publicKey.export({ format: "jwk" }) as JWK), kid: "small", alg: "RS256" }]);
    const unsigned = forged({ alg: "RS256", kid: "small" }, claims(), "").slice(0, -1);
    expect(await verify(`${unsigned}.${sign("sha256", Buffer.from(unsigned), privateKey).toString("base64url")}`)).toBe(
      "invalid",
    );
  });
});

describe("the form of a token", () => {
  it("distinguishes signed tokens from others", async () => {
    expect(TokenVerifier.recognizes(await issuer.sign())).toBe(true);
    for (const other of ["", "a-secret-of-the-token-file", "aa.bb", "aa.bb.cc.dd.ee", "aa..cc", `aa.${"b".repeat(20_000)}.cc`])
      expect(TokenVerifier.recognizes(other)).toBe(false);
  });
});

describe("a remembered token", () => {
  it("is accepted at once until it expires, without its issuer", async () => {
    const token = await issuer.sign();
    await verifier.verify(token);
    issuer.isDown = true;
    expect(verifier.verify(token)).toMatchObject({ identity: { name: "example:reader" } });
    clock.advance(659_000);
    expect(verifier.verify(token)).toMatchObject({ identity: { name: "example:reader" } });
    clock.advance(1_000);
    expect(await verify(token)).toBe("invalid");
  });

  it("is verified again after an hour, however long it is valid", async () => {
    const token = await issuer.sign({ claims: { exp: seconds() + 1_000_000 } });
    await verifier.verify(token);
    clock.advance(3_599_000);
    expect(verifier.verify(token)).not.toBeInstanceOf(Promise);
    clock.advance(1_000);
    const again = verifier.verify(token);
    expect(again).toBeInstanceOf(Promise);
    expect(await again).toMatchObject({ identity: { name: "example:reader" } });
  });

  it("is refused at once for ten seconds if it was refused", async () => {
    const token = await issuer.sign({ claims: { aud: "elsewhere" } });
    expect(await verify(token)).toBe("invalid");
    expect(() => verifier.verify(token)).toThrow("aud");
    clock.advance(10_000);
    expect(await verify(token)).toBe("invalid");
  });

  it("is refused when its key is no longer published", async () => {
    const token = await issuer.sign();
    await verifier.verify(token);
    const before = verifier.revision;
    await issuer.rotate(false);
    expect(await verify(await issuer.sign())).toMatchObject({ name: "example:reader" });
    expect(verifier.revision).toBeGreaterThan(before);
    expect(await verify(token)).toBe("undecided");
  });

  it("stays accepted after a rotation that keeps its key published", async () => {
    const token = await issuer.sign();
    await verifier.verify(token);
    await issuer.rotate(true);
    expect(await verify(await issuer.sign())).toMatchObject({ name: "example:reader" });
    expect(await verify(token)).toMatchObject({ name: "example:reader" });
  });

  it("is not displaced by refused tokens", async () => {
    const first = await issuer.sign();
    await verifier.verify(first);
    const claims = (at: number) => ({ claims: { aud: "elsewhere", jti: String(at) } });
    for (let at = 0; at < 50; at++) expect(await verify(await issuer.sign(claims(at)))).toBe("invalid");
    expect(verifier.verify(first)).not.toBeInstanceOf(Promise);
  });
});

describe("an issuer", () => {
  it("that is down when the member starts refuses all tokens, and is asked again without a request", async () => {
    issuer.isDown = true;
    await start();
    const token = await issuer.sign();
    expect(await verify(token)).toBe("unavailable");
    issuer.isDown = false;
    clock.advance(clock.nextInMs!);
    expect(await verify(token)).toMatchObject({ name: "example:reader" });
  });

  it("that is down continues with the keys that are cached, and refuses tokens by others", async () => {
    await verifier.verify(await issuer.sign());
    issuer.isDown = true;
    const old = await issuer.sign({ claims: { jti: "another" } });
    await issuer.rotate(true);
    expect(await verify(await issuer.sign())).toBe("unavailable");
    expect(await verify(old)).toMatchObject({ name: "example:reader" });
  });

  it("that is slow delays only tokens by keys that are not cached", async () => {
    await verifier.verify(await issuer.sign());
    const old = await issuer.sign({ claims: { jti: "another" } });
    let answer = (): void => {};
    issuer.answersAfter = new Promise((resolve) => {
      answer = resolve;
    });
    await issuer.rotate(true);
    let isVerified = false;
    const verifying = verify(await issuer.sign()).then((identity) => {
      isVerified = true;
      return identity;
    });
    expect(await verify(old)).toMatchObject({ name: "example:reader" });
    expect(isVerified).toBe(false);
    answer();
    expect(await verifying).toMatchObject({ name: "example:reader" });
  });

  it("is asked at most once in ten seconds about unknown keys, however many tokens have one", async () => {
    await verifier.verify(await issuer.sign());
    const foreign = await SigningIssuer.create(ISSUER, () => clock.nowMs());
    const before = issuer.requests;
    const strange = (at: number): Promise<string> => foreign.sign({ header: { kid: `unknown-${at}` } });
    const tokens = await Promise.all(Array.from({ length: 20 }, (_, at) => strange(at)));
    expect(await Promise.all(tokens.map(verify))).toEqual(Array.from({ length: 20 }, () => "undecided"));
    expect(issuer.requests).toBe(before + 1);
    clock.advance(9_999);
    expect(await verify(tokens[0]!)).toBe("undecided");
    expect(issuer.requests).toBe(before + 1);
    clock.advance(1);
    expect(await verify(tokens[0]!)).toBe("undecided");
    expect(issuer.requests).toBe(before + 2);
  });

  it("is asked for keys every five minutes, so that a new key is known before it is used", async () => {
    await verifier.verify(await issuer.sign());
    await issuer.rotate(true);
    const before = issuer.requests;
    clock.advance(300_000);
    expect(issuer.requests).toBe(before + 1);
    await new Promise((resolve) => setImmediate(resolve));
    expect(await verify(await issuer.sign())).toMatchObject({ name: "example:reader" });
    expect(issuer.requests).toBe(before + 1);
  });

  it("that does not confirm its keys for a day is no longer trusted", async () => {
    const token = await issuer.sign({ claims: { exp: seconds() + 1_000_000 } });
    await verifier.verify(token);
    issuer.isDown = true;
    const pass = async (ms: number): Promise<void> => {
      const endMs = clock.nowMs() + ms;
      while (clock.nowMs() < endMs) {
        clock.advance(Math.min(endMs - clock.nowMs(), 60_000));
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    await pass(86_000_000);
    expect(await verify(token)).toMatchObject({ name: "example:reader" });
    await pass(500_000);
    expect(await verify(token)).toBe("unavailable");
  });
});
