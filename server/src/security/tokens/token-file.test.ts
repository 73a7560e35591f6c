import { describe, expect, it } from "vitest";
import { TokenFileAuthenticator, Tokens } from "./token-file.js";

const OLD = "old-token-0123456789abcdef";
const NEW = "new-token-0123456789abcdef";

/** A file of tokens that can be replaced. */
function tokenFile(text: string) {
  return { current: Tokens.parse(text), revision: 0 };
}

const asked = (authorization: string | undefined) => ({ headers: { authorization } });

/** Whether a file of one token authenticates a request with this header. */
function accepts(token: string, authorization: string | undefined): boolean {
  return new TokenFileAuthenticator(tokenFile(token)).authenticate(asked(authorization)) !== undefined;
}

describe("a file of tokens", () => {
  it("may contain several tokens, the first of which is the member's own", () => {
    const tokens = Tokens.parse(`\n${NEW}\r\n  ${OLD}  \n\n`);
    expect(tokens.own).toBe(NEW);
    expect([NEW, OLD].every((token) => tokens.has(token))).toBe(true);
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
    expect(accepts(OLD, authorization)).toBe(expected);
  });
});
