import { describe, expect, it } from "vitest";
import { isSignedBy, parseAccessKeyToken, signAccessKeyToken } from "./access-key-token.js";

const KEY = { accessKeyId: "AKIAIOSFODNN7EXAMPLE", secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY" };
const NOW_MS = 1_767_225_600_000;

describe("a token by an access key", () => {
  it("has the golden form, and contains no part of the secret", () => {
    expect(signAccessKeyToken(KEY, NOW_MS)).toBe(
      "fck1~AKIAIOSFODNN7EXAMPLE~1767225600000~900000~51f2a28ecc6a965d2b61e62df7da17fa483a496fc404dbec56421324cc893069",
    );
  });

  it("is verified with the secret that signed it alone", () => {
    for (const sessionToken of [undefined, "a session/token+of=STS"]) {
      const token = parseAccessKeyToken(signAccessKeyToken({ ...KEY, sessionToken }, NOW_MS + 0.5))!;
      expect(token).toMatchObject({ accessKeyId: KEY.accessKeyId, signedAtMs: NOW_MS, lifetimeMs: 900_000, sessionToken });
      expect(isSignedBy(token, KEY.secretAccessKey)).toBe(true);
      expect(isSignedBy(token, `${KEY.secretAccessKey}x`)).toBe(false);
      expect(isSignedBy({ ...token, accessKeyId: "AKIAOTHER" }, KEY.secretAccessKey)).toBe(false);
      expect(isSignedBy({ ...token, signedAtMs: NOW_MS + 1 }, KEY.secretAccessKey)).toBe(false);
      expect(isSignedBy({ ...token, lifetimeMs: 900_001 }, KEY.secretAccessKey)).toBe(false);
      expect(isSignedBy({ ...token, sessionToken: "another" }, KEY.secretAccessKey)).toBe(false);
    }
  });

  it("is not recognized in other texts", () => {
    const token = signAccessKeyToken(KEY, NOW_MS);
    for (const text of ["", "fck1", token.replace("fck1", "fck2"), `${token}~`, `${token} `, token.slice(1), token.slice(0, -1)])
      expect(parseAccessKeyToken(text)).toBeUndefined();
  });
});
