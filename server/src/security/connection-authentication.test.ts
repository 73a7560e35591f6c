import { describe, expect, it } from "vitest";
import { systemClock } from "../runtime/clock.js";
import { membersAre, noSecurity, testPeer } from "../testing/no-security.js";
import { ConnectionAuthentication } from "./connection-authentication.js";
import { clientPrincipal } from "./principal.js";
import { bearerFromBasic, presentedToken } from "./tokens/presented-token.js";
import { TokenFileAuthenticator, Tokens } from "./tokens/token-file.js";

const OLD = "old-token-0123456789abcdef";
const NEW = "new-token-0123456789abcdef";

/** A file of tokens that can be replaced. */
function tokenFile(text: string) {
  return { current: Tokens.parse(text), revision: 0 };
}

/** Security by the tokens of a file alone. */
const byTokens = (file: { current: Tokens; revision: number }) => ({
  ...noSecurity,
  authenticator: new TokenFileAuthenticator(file),
});

const asked = (authorization: string | undefined) => ({ headers: { authorization } });

/** Whether a connection accepts a request with this header. */
function isAccepted(authentication: ConnectionAuthentication, authorization: string | undefined): boolean {
  try {
    authentication.authenticate(asked(authorization));
    return true;
  } catch {
    return false;
  }
}

describe("the authentication of a connection", () => {
  it("checks an accepted token again after the tokens change", () => {
    const file = tokenFile(OLD);
    const authentication = new ConnectionAuthentication(byTokens(file), testPeer(), systemClock);
    expect([`Bearer ${OLD}`, `Bearer ${OLD}`, "Bearer x"].map((each) => isAccepted(authentication, each))).toEqual([
      true,
      true,
      false,
    ]);
    file.current = Tokens.parse(NEW);
    file.revision++;
    expect([`Bearer ${OLD}`, `Bearer ${NEW}`].map((each) => isAccepted(authentication, each))).toEqual([false, true]);
  });

  it("checks a repeated header only once", () => {
    const file = tokenFile(OLD);
    let checks = 0;
    const counted = new TokenFileAuthenticator({
      get current() {
        checks++;
        return file.current;
      },
      revision: 0,
    });
    const authentication = new ConnectionAuthentication({ ...noSecurity, authenticator: counted }, testPeer(), systemClock);
    for (let i = 0; i < 1_000; i++) isAccepted(authentication, `Bearer ${OLD}`);
    expect(checks).toBe(1);
  });

  it("remembers that a connection presents nothing, until the credentials change or something is presented", () => {
    let asked = 0;
    const authenticator = {
      revision: 0,
      authenticate({ headers }: { headers: { authorization?: string | undefined } }) {
        asked++;
        if (headers.authorization === undefined) return undefined;
        return { principal: clientPrincipal("ada", "token"), untilMs: Number.POSITIVE_INFINITY };
      },
    };
    const security = { ...noSecurity, members: membersAre("nobody"), authenticator, allowsAnonymous: true };
    const authentication = new ConnectionAuthentication(security, testPeer(), systemClock);
    const nothing = { url: "/b/k", headers: {} };
    for (let time = 0; time < 3; time++) expect(authentication.authenticate(nothing)).toMatchObject({ method: "anonymous" });
    expect(asked).toBe(1);
    const presigned = { url: "/b/k?X-Amz-Signature=0", headers: {} };
    expect(authentication.known(presigned)).toBeUndefined();
    expect(() => authentication.authenticate(presigned)).toThrow("missing or unknown token");
    expect(authentication.authenticate({ url: "/b/k", headers: { authorization: "Bearer a" } })).toMatchObject({ name: "ada" });
    expect(() => authentication.authenticate(presigned)).toThrow("missing or unknown token");
    expect(authentication.authenticate(nothing)).toMatchObject({ method: "anonymous" });
    const before = asked;
    authenticator.revision++;
    authentication.authenticate(nothing);
    expect(asked).toBe(before + 1);
  });

  it("does not take what one presigned URL proves as proof of the next request without a header", () => {
    const security = { ...byTokens(tokenFile(OLD)), members: membersAre("nobody") };
    const authentication = new ConnectionAuthentication(security, testPeer(), systemClock);
    const credential = `X-Amz-Credential=${OLD}/20261101/us-east-1/s3/aws4_request&X-Amz-Date=20261101T000000Z&X-Amz-Expires=60`;
    const url = `/b/k?${credential}&X-Amz-Signature=0`;
    expect(presentedToken({ url, headers: {} })).toBe(OLD);
    expect(authentication.authenticate({ url, headers: {} })).toMatchObject({ name: "token-holder", method: "token" });
    expect(() => authentication.authenticate({ url: "/b/k", headers: {} })).toThrow("missing or unknown token");
    expect(authentication.authenticate(asked(`Bearer ${OLD}`))).toMatchObject({ method: "token" });
    expect(() => authentication.authenticate({ url: url.replace(OLD, "x"), headers: {} })).toThrow("missing or unknown token");
  });

  it("asks again when a proof has ended, or is of one request alone", () => {
    let nowMs = 0;
    const asks: string[] = [];
    const principal = clientPrincipal("ada", "jwt");
    const authenticator = {
      revision: 0,
      authenticate({ headers: { authorization = "" } }: { headers: { authorization?: string | undefined } }) {
        asks.push(authorization);
        return { principal, untilMs: authorization === "Bearer once" ? undefined : 10 };
      },
    };
    const security = { ...noSecurity, members: membersAre("nobody"), authenticator };
    const authentication = new ConnectionAuthentication(security, testPeer(), { nowMs: () => nowMs });
    for (const authorization of ["Bearer a", "Bearer a", "Bearer once", "Bearer once", "Bearer a"]) {
      expect(authentication.authenticate(asked(authorization))).toBe(principal);
    }
    expect(asks).toEqual(["Bearer a", "Bearer once", "Bearer once"]);
    nowMs = 10;
    expect(authentication.authenticate(asked("Bearer a"))).toBe(principal);
    expect(asks.slice(3)).toEqual(["Bearer a"]);
  });

  it("rejects later what an authenticator rejects later", async () => {
    const authenticator = { revision: 0, authenticate: () => Promise.resolve(undefined) };
    const authentication = new ConnectionAuthentication({ ...noSecurity, authenticator }, testPeer(), systemClock);
    await expect(authentication.authenticate(asked("Bearer a"))).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
  });

  it("accepts the token of a password only after its conversion to a bearer token", () => {
    const authentication = new ConnectionAuthentication(byTokens(tokenFile(OLD)), testPeer(), systemClock);
    const basic = `Basic ${Buffer.from(`me:${OLD}`).toString("base64")}`;
    expect(isAccepted(authentication, basic)).toBe(false);
    expect(isAccepted(authentication, bearerFromBasic(basic))).toBe(true);
  });
});

describe("a password", () => {
  const tokens = byTokens(tokenFile(OLD));
  const tls = { mutual: true } as never;

  it.each([
    ["no token is required", noSecurity, false, false],
    ["a token is required", tokens, false, true],
    ["a certificate is required and missing", { ...tokens, tls }, false, false],
    ["a certificate is required and present", { ...tokens, tls }, true, true],
  ])("is accepted or not: %s", (_, security, certified, expected) => {
    expect(new ConnectionAuthentication(security, testPeer(certified), systemClock).acceptsPasswords).toBe(expected);
  });
});
