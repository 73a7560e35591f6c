import { describe, expect, it } from "vitest";
import { noSecurity, testPeer } from "../testing/no-security.js";
import { ConnectionAuthentication } from "./connection-authentication.js";
import { bearerFromBasic, Tokens } from "./tokens.js";

const TOKEN = "a-token-that-nobody-guesses";
const basic = (text: string): string => `Basic ${Buffer.from(text).toString("base64")}`;

const OLD = "old-token-0123456789abcdef";
const NEW = "new-token-0123456789abcdef";

describe("a file of tokens", () => {
  it("may contain several tokens, the first of which is the member's own", () => {
    const tokens = Tokens.parse(`\n${NEW}\r\n  ${OLD}  \n\n`);
    expect(tokens.own).toBe(NEW);
    expect([NEW, OLD].every((token) => tokens.accepts(`Bearer ${token}`))).toBe(true);
  });

  it.each([
    ["", "contains no token"],
    ["\n \n", "contains no token"],
    ["short", "the token in line 1 is too short"],
    [`${OLD}\nwith blanks in between it`, "line 2 is not a valid token"],
    [`${"x".repeat(1025)}`, "line 1 is not a valid token"],
    [Array.from({ length: 101 }, (_, i) => `${OLD}${i}`).join("\n"), "more than 100 tokens"],
  ])("is refused if it is invalid (%#), by a message that does not quote it", (text, problem) => {
    expect(() => Tokens.parse(text)).toThrow(problem);
    try {
      Tokens.parse(text);
    } catch (error) {
      for (const word of text.split(/\s+/).filter((each) => each.length > 4)) {
        if (word !== "short") expect((error as Error).message).not.toContain(word);
      }
    }
  });

  it.each([
    [`Bearer ${OLD}`, true],
    [`bearer  ${OLD}`, true],
    [`AWS4-HMAC-SHA256 Credential=${OLD}/20261101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0`, true],
    [undefined, false],
    ["", false],
    [OLD, false],
    [`Basic ${OLD}`, false],
    [`Bearer ${OLD}x`, false],
    [`Bearer ${OLD.slice(1)}`, false],
    [`Bearer ${OLD.toUpperCase()}`, false],
    [`Bearer ${OLD} ${OLD}`, false],
    [`Bearer ${"x".repeat(100_000)}`, false],
    [`AWS4-ECDSA-P256-SHA256 Credential=${OLD}/20261101/s3/aws4_request, SignedHeaders=host, Signature=0`, true],
    [`AWS ${OLD}:c2lnbmF0dXJl`, true],
    [`AWS ${OLD}`, false],
    [`AWS4-HMAC-SHA256 Credential=${OLD}/x/20261101/us-east-1/s3/aws4_request`, false],
    [`AWS4-HMAC-SHA256 Credential=${OLD}/us-east-1/s3/aws4_request`, false],
    ["AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261101/us-east-1/s3/aws4_request", false],
  ])("accepts %j: %s", (authorization, expected) => {
    expect(Tokens.parse(OLD).accepts(authorization)).toBe(expected);
  });
});

describe("the authentication of a connection", () => {
  it("checks an accepted token again after the tokens change", () => {
    const security = { ...noSecurity, tokens: Tokens.parse(OLD) };
    const authentication = new ConnectionAuthentication(security, testPeer());
    expect([
      authentication.accepts(`Bearer ${OLD}`),
      authentication.accepts(`Bearer ${OLD}`),
      authentication.accepts("Bearer x"),
    ]).toEqual([true, true, false]);
    security.tokens = Tokens.parse(NEW);
    expect([authentication.accepts(`Bearer ${OLD}`), authentication.accepts(`Bearer ${NEW}`)]).toEqual([false, true]);
  });

  it("checks a repeated header only once", () => {
    const tokens = Tokens.parse(OLD);
    let checks = 0;
    const counted = Object.assign(Object.create(tokens) as Tokens, {
      accepts: (shown: string | undefined) => {
        checks++;
        return tokens.accepts(shown);
      },
    });
    const authentication = new ConnectionAuthentication({ ...noSecurity, tokens: counted }, testPeer());
    for (let i = 0; i < 1_000; i++) authentication.accepts(`Bearer ${OLD}`);
    expect(checks).toBe(1);
  });
});

describe("Basic authentication of a browser", () => {
  it.each([`me:${TOKEN}`, `:${TOKEN}`, `\u00fc:${TOKEN}`, `${"x".repeat(1_000)}:${TOKEN}`])(
    "becomes a bearer token, the password, whatever the user name: %s",
    (credentials) => {
      expect(bearerFromBasic(basic(credentials))).toBe(`Bearer ${TOKEN}`);
      expect(bearerFromBasic(basic(credentials).replace("Basic", "basic"))).toBe(`Bearer ${TOKEN}`);
    },
  );

  it.each([
    undefined,
    "",
    "Basic",
    "Basic ",
    `Bearer ${TOKEN}`,
    basic(TOKEN),
    `Basic me:${TOKEN}`,
    `${basic(`me:${TOKEN}`)} x`,
    `Digest ${TOKEN}`,
  ])("is undefined for any other header: %j", (authorization) => {
    expect(bearerFromBasic(authorization)).toBeUndefined();
  });

  it.each([
    `${TOKEN}:me`,
    `me:${TOKEN}x`,
    `me:${TOKEN.slice(1)}`,
    "me:",
    `me:${TOKEN}:`,
    `me:${TOKEN} ${TOKEN}`,
    `me:\r\n${TOKEN}`,
  ])("is refused if the password is not a token: %j", (credentials) => {
    expect(Tokens.parse(TOKEN).accepts(bearerFromBasic(basic(credentials)))).toBe(false);
  });

  it("is not accepted by a connection without the conversion", () => {
    const authentication = new ConnectionAuthentication({ ...noSecurity, tokens: Tokens.parse(TOKEN) }, testPeer());
    expect(authentication.accepts(basic(`me:${TOKEN}`))).toBe(false);
    expect(authentication.accepts(bearerFromBasic(basic(`me:${TOKEN}`)))).toBe(true);
  });
});

describe("a token", () => {
  const tokens = Tokens.parse(TOKEN);
  const tls = { mutual: true } as never;

  it.each([
    ["no token is required", noSecurity, false, false],
    ["a token is required", { ...noSecurity, tokens }, false, true],
    ["a certificate is required and missing", { ...noSecurity, tls, tokens }, false, false],
    ["a certificate is required and present", { ...noSecurity, tls, tokens }, true, true],
  ])("suffices or not: %s", (_, security, certified, expected) => {
    expect(new ConnectionAuthentication(security, testPeer(certified)).tokenSuffices).toBe(expected);
  });
});
