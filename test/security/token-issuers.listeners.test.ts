import { mkdtemp, rm, writeFile } from "node:fs/promises";
import type { ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { JwtAuthenticator, MappingReader, readTokenIssuers, silentLog, systemClock } from "@frontcache/server/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { IssuerEmulator } from "../emulators/issuer.js";
import { Authority } from "./authority.js";

const SERVICE_ACCOUNT = "system:serviceaccount:jobs:reader";

let directory: string;
let issuer: IssuerEmulator;
let authenticator: JwtAuthenticator | undefined;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "frontcache-issuers-"));
  issuer = await IssuerEmulator.start();
});

afterEach(async () => {
  await authenticator?.close();
  authenticator = undefined;
  await issuer[Symbol.asyncDispose]();
  await rm(directory, { recursive: true });
});

function rulesOf(file: object): ReturnType<typeof readTokenIssuers> {
  return readTokenIssuers(new MappingReader(file, "", []));
}

/** Accepts tokens by the rules. Requests of the API server go to the emulator. */
function accept(rules: object): void {
  authenticator = new JwtAuthenticator({
    rules: rulesOf(rules),
    openAccess: async () => ({
      server: issuer.url,
      namespace: "cache",
      async authorize(options) {
        options.headers = { ...options.headers, authorization: "Bearer of-the-member" };
      },
    }),
    clock: systemClock,
    random: Math.random,
    log: silentLog,
  });
}

/** The same as `authenticateOnce`, repeated while the issuer's answers come too late, as on a busy machine. */
async function authenticate(token: string): Promise<unknown> {
  let found: unknown;
  const next = async (): Promise<unknown> => {
    found = await authenticateOnce(token);
    return found;
  };
  await expect.poll(next, { timeout: 60_000 }).not.toBe("UNAVAILABLE");
  return found;
}

/** The principal's name and groups, or the code of the error. */
async function authenticateOnce(token: string): Promise<unknown> {
  try {
    const found = await authenticator!.authenticate({ headers: { authorization: `Bearer ${token}` } });
    return found === undefined ? undefined : { name: found.principal.name, groups: found.principal.groups };
  } catch (error) {
    return (error as { readonly code: string }).code;
  }
}

const oidc = (): object => ({ issuers: [{ issuer: issuer.url, namePrefix: "it:" }] });
const READER = { name: "it:reader", groups: [] };

describe("tokens of an OpenID Connect issuer", () => {
  it("are accepted by the keys of its discovery document, and others are left to other authenticators", async () => {
    accept(oidc());
    expect(await authenticate(await issuer.signing.sign())).toEqual(READER);
    expect(issuer.requests.slice(0, 2)).toEqual(["/.well-known/openid-configuration", "/openid/v1/jwks"]);
    expect(await authenticate("a-token-of-the-file-of-tokens")).toBeUndefined();
    expect(await authenticator!.authenticate({ headers: {} })).toBeUndefined();
  });

  it("are accepted as the access key ID of an S3 client", async () => {
    accept(oidc());
    const token = await issuer.signing.sign();
    await authenticate(token);
    const scope = `${token}/20260101/us-east-1/s3/aws4_request`;
    const authorization = `AWS4-HMAC-SHA256 Credential=${scope}, SignedHeaders=host, Signature=0`;
    expect(await authenticator!.authenticate({ headers: { authorization } })).toMatchObject({
      principal: { name: "it:reader", method: "jwt", isMember: false },
    });
  });

  it("are accepted after its signing key has been rotated", async () => {
    accept(oidc());
    const old = await issuer.signing.sign();
    expect(await authenticate(old)).toEqual(READER);
    await issuer.signing.rotate(true);
    expect(await authenticate(await issuer.signing.sign())).toEqual(READER);
    expect(await authenticate(old)).toEqual(READER);
  });

  it("are accepted from an issuer whose certificate the configured authority signed, and not without it", async () => {
    const authority = await Authority.create("issuers");
    const ca = join(directory, "ca.pem");
    await writeFile(ca, authority.pem);
    await issuer[Symbol.asyncDispose]();
    issuer = await IssuerEmulator.start(await authority.issue("localhost"));
    accept({ issuers: [{ issuer: issuer.url, ca, namePrefix: "it:" }] });
    expect(await authenticate(await issuer.signing.sign())).toEqual(READER);
    await authenticator!.close();
    accept(oidc());
    expect(await authenticateOnce(await issuer.signing.sign())).toBe("UNAVAILABLE");
  });

  it.each<[string, string, (response: ServerResponse) => void]>([
    ["redirects", "/.well-known/openid-configuration", (response) => response.writeHead(302, { location: "/keys" }).end()],
    ["redirects to its keys", "/openid/v1/jwks", (response) => response.writeHead(307, { location: "/keys" }).end()],
    ["returns an error", "/.well-known/openid-configuration", (response) => response.writeHead(500).end()],
    ["closes the connection", "/openid/v1/jwks", (response) => response.destroy()],
    ["returns no JSON", "/openid/v1/jwks", (response) => response.end("<html>")],
    ["returns a list", "/.well-known/openid-configuration", (response) => response.end("[]")],
    ["returns a key set without keys", "/openid/v1/jwks", (response) => response.end("{}")],
    ["returns keys that are none", "/openid/v1/jwks", (response) => response.end('{"keys":[1]}')],
    ["returns too many keys", "/openid/v1/jwks", (response) => response.end(`{"keys":[${"{},".repeat(100)}{}]}`)],
    ["returns too much", "/openid/v1/jwks", (response) => response.end(`{"keys":[]${" ".repeat(300_000)}}`)],
    [
      "names another issuer",
      "/.well-known/openid-configuration",
      (response) => response.end('{"issuer":"https://other.example"}'),
    ],
  ])("are not verified if the issuer %s", async (_what, path, answer) => {
    issuer.answers.set(path, (_request, response) => answer(response));
    accept(oidc());
    expect(await authenticateOnce(await issuer.signing.sign())).toBe("UNAVAILABLE");
    expect(issuer.requests).not.toContain("/keys");
  });

  it.each(["http://elsewhere.example/keys", "file:///etc/passwd", "//elsewhere", 7])(
    "are not verified by keys at %j",
    async (jwks_uri) => {
      issuer.answers.set("/.well-known/openid-configuration", (_request, response) =>
        response.end(JSON.stringify({ issuer: issuer.url, jwks_uri })),
      );
      accept(oidc());
      expect(await authenticateOnce(await issuer.signing.sign())).toBe("UNAVAILABLE");
    },
  );

  it("are accepted while the issuer is down, if their key is cached", async () => {
    accept(oidc());
    expect(await authenticate(await issuer.signing.sign())).toEqual(READER);
    issuer.answers.set("/.well-known/openid-configuration", (_request, response) => response.destroy());
    expect(await authenticate(await issuer.signing.sign({ claims: { jti: "another" } }))).toEqual(READER);
    await issuer.signing.rotate(true);
    expect(await authenticateOnce(await issuer.signing.sign())).toBe("UNAVAILABLE");
  });

  it("are refused when their issuer is removed, and issuers that stay keep their keys", async () => {
    accept(oidc());
    const token = await issuer.signing.sign();
    expect(await authenticate(token)).toEqual(READER);
    const before = authenticator!.revision;
    authenticator!.use(rulesOf({ issuers: [...(oidc() as { issuers: object[] }).issuers], kubernetes: {} }));
    expect(authenticator!.revision).toBeGreaterThan(before);
    expect(await authenticate(token)).toEqual(READER);
    authenticator!.use(rulesOf({}));
    expect(await authenticate(token)).toBe("UNAUTHENTICATED");
  });
});

describe("tokens of ServiceAccounts", () => {
  const sign = (claims: object = {}): Promise<string> => issuer.signing.sign({ claims: { sub: SERVICE_ACCOUNT, ...claims } });
  const ACCOUNT = {
    name: SERVICE_ACCOUNT,
    groups: ["system:serviceaccounts", "system:serviceaccounts:jobs", "system:authenticated"],
  };

  beforeEach(() => {
    issuer.apiToken = "of-the-member";
  });

  it("are verified by the keys of the API server, with the credentials of the member", async () => {
    accept({ kubernetes: {} });
    expect(await authenticate(await sign())).toEqual(ACCOUNT);
    expect(await authenticate(await sign({ aud: "https://kubernetes.default.svc" }))).toBe("UNAUTHENTICATED");
    expect(issuer.reviews).toEqual([]);
  });

  it("are verified by reviews if the API server does not publish its keys", async () => {
    issuer.mayDiscover = false;
    issuer.reviewed = SERVICE_ACCOUNT;
    accept({ kubernetes: { audience: ["frontcache", "cache"] } });
    const token = await sign();
    expect(await authenticate(token)).toEqual(ACCOUNT);
    expect(await authenticate(token)).toEqual(ACCOUNT);
    expect(issuer.reviews).toContainEqual({ token, audiences: ["frontcache", "cache"] });
    issuer.reviewed = undefined;
    expect(await authenticate(await sign({ jti: "another" }))).toBe("UNAUTHENTICATED");
  });

  it("are not verified if the API server refuses the member's credentials", async () => {
    issuer.apiToken = "another";
    accept({ kubernetes: {} });
    expect(await authenticateOnce(await sign())).toBe("UNAVAILABLE");
  });

  it("are not verified if the API server forbids both ways", async () => {
    issuer.mayDiscover = false;
    issuer.answers.set("/apis/authentication.k8s.io/v1/tokenreviews", (_request, response) => response.writeHead(403).end());
    accept({ kubernetes: {} });
    expect(await authenticateOnce(await sign())).toBe("UNAVAILABLE");
  });
});
