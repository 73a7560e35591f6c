import { describe, expect, it } from "vitest";
import { openDoor } from "./doors.js";
import { Tokens } from "./tokens.js";
import { Visitor } from "./visitor.js";

const OLD = "old-token-0123456789abcdef";
const NEW = "new-token-0123456789abcdef";

describe("a file of tokens", () => {
  it("holds several, of which the first is the member's own", () => {
    const tokens = Tokens.parse(`\n${NEW}\r\n  ${OLD}  \n\n`);
    expect(tokens.own).toBe(NEW);
    expect([NEW, OLD].every((token) => tokens.admits(`Bearer ${token}`))).toBe(true);
  });

  it.each([
    ["", "it holds no token"],
    ["\n \n", "it holds no token"],
    ["short", "the token in line 1 is too short"],
    [`${OLD}\nwith blanks in between it`, "line 2 holds no token"],
    [`${"x".repeat(1025)}`, "line 1 holds no token"],
    [Array.from({ length: 101 }, (_, i) => `${OLD}${i}`).join("\n"), "more than 100 tokens"],
  ])("is refused where it can't be one (%#), without a word of what it says", (text, problem) => {
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
    ["AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261101/us-east-1/s3/aws4_request", false],
  ])("admits %j: %s", (authorization, expected) => {
    expect(Tokens.parse(OLD).admits(authorization)).toBe(expected);
  });
});

describe("a connection", () => {
  it("that was let in once is asked anew when the tokens change", () => {
    const door = { ...openDoor, tokens: Tokens.parse(OLD) };
    const visitor = new Visitor(door, false);
    expect([visitor.admits(`Bearer ${OLD}`), visitor.admits(`Bearer ${OLD}`), visitor.admits("Bearer x")]).toEqual([
      true,
      true,
      false,
    ]);
    door.tokens = Tokens.parse(NEW);
    expect([visitor.admits(`Bearer ${OLD}`), visitor.admits(`Bearer ${NEW}`)]).toEqual([false, true]);
  });

  it("that pays for one check pays next to nothing for the further ones", () => {
    const tokens = Tokens.parse(OLD);
    let checks = 0;
    const counted = Object.assign(Object.create(tokens) as Tokens, {
      admits: (shown: string | undefined) => {
        checks++;
        return tokens.admits(shown);
      },
    });
    const visitor = new Visitor({ ...openDoor, tokens: counted }, false);
    for (let i = 0; i < 1_000; i++) visitor.admits(`Bearer ${OLD}`);
    expect(checks).toBe(1);
  });
});
