import { describe, expect, it } from "vitest";
import { bearerOfBrowser } from "./browser-token.js";
import { openDoor } from "./doors.js";
import { Tokens } from "./tokens.js";
import { Visitor } from "./visitor.js";

const TOKEN = "a-token-that-nobody-guesses";
const basic = (text: string): string => `Basic ${Buffer.from(text).toString("base64")}`;

describe("what a browser shows", () => {
  it.each([`me:${TOKEN}`, `:${TOKEN}`, `\u00fc:${TOKEN}`, `${"x".repeat(1_000)}:${TOKEN}`])(
    "is the token by its password, whatever the name: %s",
    (shown) => {
      expect(bearerOfBrowser(basic(shown))).toBe(`Bearer ${TOKEN}`);
      expect(bearerOfBrowser(basic(shown).replace("Basic", "basic"))).toBe(`Bearer ${TOKEN}`);
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
  ])("is nothing in any other form: %j", (authorization) => {
    expect(bearerOfBrowser(authorization)).toBeUndefined();
  });

  it.each([
    `${TOKEN}:me`,
    `me:${TOKEN}x`,
    `me:${TOKEN.slice(1)}`,
    "me:",
    `me:${TOKEN}:`,
    `me:${TOKEN} ${TOKEN}`,
    `me:\r\n${TOKEN}`,
  ])("opens no door where it is not a token, compared as all are: %j", (shown) => {
    expect(Tokens.parse(TOKEN).admits(bearerOfBrowser(basic(shown)))).toBe(false);
  });

  it("opens no door as it is: who takes it for a token says so", () => {
    const visitor = new Visitor({ ...openDoor, tokens: Tokens.parse(TOKEN) }, false);
    expect(visitor.admits(basic(`me:${TOKEN}`))).toBe(false);
    expect(visitor.admits(bearerOfBrowser(basic(`me:${TOKEN}`)))).toBe(true);
  });
});

describe("a visitor", () => {
  const tokens = Tokens.parse(TOKEN);
  const tls = { mutual: true } as never;

  it.each([
    ["where none is asked for", openDoor, false, false],
    ["where one is asked for", { ...openDoor, tokens }, false, true],
    ["whose certificate is missing too", { tls, tokens }, false, false],
    ["whose certificate is there", { tls, tokens }, true, true],
  ])("is let in by a token alone: %s", (_, door, certified, expected) => {
    expect(new Visitor(door, certified).tokenOpens).toBe(expected);
  });
});
