import { describe, expect, it } from "vitest";
import { bearerFromBasic } from "./presented-token.js";
import { TokenFileAuthenticator, Tokens } from "./token-file.js";

const TOKEN = "a-token-that-nobody-guesses";
const basic = (text: string): string => `Basic ${Buffer.from(text).toString("base64")}`;

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
    const authenticator = new TokenFileAuthenticator({ current: Tokens.parse(TOKEN), revision: 0 });
    const headers = { authorization: bearerFromBasic(basic(credentials)) };
    expect(authenticator.authenticate({ headers })).toBeUndefined();
  });
});
