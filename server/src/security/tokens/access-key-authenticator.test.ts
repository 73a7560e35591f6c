import { signAccessKeyToken } from "@frontcache/proto";
import { ManualClock } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import { parseIdentities } from "../identities/identities-file.js";
import { AccessKeyAuthenticator } from "./access-key-authenticator.js";

const SECRET = "a-secret-of-an-access-key";
const current = parseIdentities(`
identities:
  - name: ada
    groups: [readers]
    accessKeys:
      - { id: AKIAADA, secret: ${SECRET} }
      - { id: ASIAADA, secret: ${SECRET}, sessionToken: abc }
grants: []
`);
const KEY = { accessKeyId: "AKIAADA", secretAccessKey: SECRET };

const clock = new ManualClock(1_767_225_600_000);
const authenticator = new AccessKeyAuthenticator({ current, revision: 7 }, clock);

const authenticate = (token: string) => authenticator.authenticate({ headers: { authorization: `Bearer ${token}` } });

describe("a token by an access key", () => {
  it("proves the identity of the key for 15 minutes", () => {
    const token = signAccessKeyToken(KEY, clock.nowMs());
    const untilMs = clock.nowMs() + 900_000;
    expect(authenticate(token)).toMatchObject({ principal: { name: "ada", groups: ["readers"] }, untilMs });
    clock.advance(899_999);
    expect(authenticate(token)).toMatchObject({ principal: { name: "ada" } });
    clock.advance(1);
    expect(() => authenticate(token)).toThrow(expect.objectContaining({ code: "UNAUTHENTICATED" }));
  });

  it("may come from a client whose clock is up to 15 minutes ahead", () => {
    expect(authenticate(signAccessKeyToken(KEY, clock.nowMs() + 900_000))).toMatchObject({ principal: { name: "ada" } });
    expect(() => authenticate(signAccessKeyToken(KEY, clock.nowMs() + 900_001))).toThrow("not accepted");
  });

  it("needs the session token of its key, and no other", () => {
    const signed = (accessKeyId: string, sessionToken?: string) =>
      signAccessKeyToken({ ...KEY, accessKeyId, sessionToken }, clock.nowMs());
    expect(authenticate(signed("ASIAADA", "abc"))).toMatchObject({ principal: { name: "ada" } });
    for (const token of [signed("ASIAADA"), signed("ASIAADA", "other"), signed("AKIAADA", "abc")])
      expect(() => authenticate(token)).toThrow("not accepted");
  });

  it("is refused with an unknown key, a wrong secret or any change, and the error contains nothing of it", () => {
    const token = signAccessKeyToken(KEY, clock.nowMs());
    const longer = token.replace("~900000~", "~900001~");
    const unknown = signAccessKeyToken({ ...KEY, accessKeyId: "AKIABOB" }, clock.nowMs());
    const wrong = signAccessKeyToken({ ...KEY, secretAccessKey: `${SECRET}x` }, clock.nowMs());
    for (const each of [longer, unknown, wrong, token.replace("AKIAADA", "ASIAADA")])
      expect(() => authenticate(each)).toThrow(/^the token by an access key is not accepted: [^~]*$/);
  });

  it("is no business of this authenticator if it has another form", () => {
    expect(authenticate("a-token-of-the-file")).toBeUndefined();
    expect(authenticator.authenticate({ headers: {} })).toBeUndefined();
    expect(authenticator.revision).toBe(7);
  });
});
