import { describe, expect, it } from "vitest";
import { parseMemberKeys } from "./member-keys.js";
import { SessionSignatures } from "./session-signatures.js";

const [OLD, NEW] = ["an-old-key-of-all-members-0123456789", "a-new-key-of-all-members-0123456789"];
const SESSION = { url: "gs://bucket/key", principal: "ada", id: "AB-c_1" };
const signaturesBy = (...keys: string[]): SessionSignatures => {
  const parsed = parseMemberKeys(keys.join("\n"));
  return new SessionSignatures(() => parsed);
};

describe("the signature of an upload session's address", () => {
  const signature = signaturesBy(OLD).sign(SESSION);

  it("is valid at each member with the key, also while a new key is introduced", () => {
    expect(signaturesBy(OLD).verify(signature, SESSION)).toBe("valid");
    expect(signaturesBy(NEW, OLD).verify(signature, SESSION)).toBe("valid");
  });

  it("is wrong for another object, principal or session", () => {
    for (const other of [{ url: "gs://bucket/other" }, { principal: "bob" }, { id: "AB-c_2" }])
      expect(signaturesBy(OLD).verify(signature, { ...SESSION, ...other })).toBe("wrong");
    for (const changed of [signature.slice(0, -1), `${signature}A`, `${signature.slice(0, 20)}A${signature.slice(21)}`])
      expect(signaturesBy(OLD).verify(changed, SESSION)).not.toBe("valid");
  });

  it("is unknown without a key that members have now", () => {
    expect(signaturesBy(NEW).verify(signature, SESSION)).toBe("unknown");
    for (const none of [undefined, "", "abc", "a.b.c", ".abc"]) expect(signaturesBy(OLD).verify(none, SESSION)).toBe("unknown");
  });
});
