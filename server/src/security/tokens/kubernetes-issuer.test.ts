import { ManualClock } from "@frontcache/proto/testing";
import type { JWTPayload } from "jose";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SigningIssuer } from "../../testing/signing-issuer.js";
import { silentLog } from "../../testing/silent-ports.js";
import { KubernetesIssuer } from "./kubernetes-issuer.js";
import type { ReviewStatus, ServiceAccountApi } from "./service-account-api.js";
import type { RefusalKind, TokenIdentity } from "./token-issuer.js";
import { TokenVerifier } from "./token-verifier.js";

const ISSUER = "https://kubernetes.default.svc";
const SUBJECT = "system:serviceaccount:jobs:reader";

const READER: TokenIdentity = {
  name: SUBJECT,
  groups: ["system:serviceaccounts", "system:serviceaccounts:jobs", "system:authenticated"],
};

/** An API server in memory. */
class FakeApi implements ServiceAccountApi {
  mayDiscover = true;
  isDown = false;
  reviews = 0;
  status: ReviewStatus = { authenticated: true, user: { username: SUBJECT }, audiences: ["frontcache"] };

  async discover() {
    if (this.isDown) throw new Error("connection refused");
    return this.mayDiscover ? issuer.load() : undefined;
  }

  async review() {
    this.reviews++;
    if (this.isDown) throw new Error("connection refused");
    return this.status;
  }
}

let clock: ManualClock;
let issuer: SigningIssuer;
let api: FakeApi;
let cluster: KubernetesIssuer;
let verifier: TokenVerifier;

beforeEach(async () => {
  clock = new ManualClock();
  issuer = await SigningIssuer.create(ISSUER, () => clock.nowMs());
  api = new FakeApi();
});

afterEach(() => cluster.close());

function start(): void {
  const ports = { clock, random: () => 0, log: silentLog };
  cluster = new KubernetesIssuer({ api, audiences: ["frontcache"] }, ports);
  verifier = new TokenVerifier({ issuers: new Map(), otherwise: cluster, clock });
}

const sign = (claims: JWTPayload = {}): Promise<string> => issuer.sign({ claims: { sub: SUBJECT, ...claims } });

async function verify(token: string): Promise<TokenIdentity | RefusalKind> {
  try {
    return (await verifier.verify(token)).identity;
  } catch (error) {
    return (error as { readonly kind: RefusalKind }).kind;
  }
}

describe("a ServiceAccount's token", () => {
  it("proves its ServiceAccount and its groups by the keys of the API server, without a review", async () => {
    start();
    expect(await verify(await sign())).toEqual(READER);
    expect(api.reviews).toBe(0);
  });

  it.each<[string, JWTPayload]>([
    ["of another issuer", { iss: "https://elsewhere.example" }],
    ["for the API server", { aud: ISSUER }],
    ["of a user", { sub: "admin" }],
    ["of a node", { sub: "system:node:node-1" }],
    ["with a namespace too many", { sub: "system:serviceaccount:jobs:reader:more" }],
    ["with an empty namespace", { sub: "system:serviceaccount::reader" }],
    ["with upper case in its name", { sub: "system:serviceaccount:jobs:Reader" }],
  ])("%s is refused", async (_what, claims) => {
    start();
    expect(await verify(await sign(claims))).toBe("invalid");
  });

  it("is accepted after the cluster has rotated its signing key", async () => {
    start();
    const old = await sign();
    expect(await verify(old)).toEqual(READER);
    await issuer.rotate(true);
    expect(await verify(await sign())).toEqual(READER);
    expect(await verify(old)).toEqual(READER);
  });
});

describe("a ServiceAccount's token, if the API server does not publish its keys", () => {
  beforeEach(() => {
    api.mayDiscover = false;
    start();
  });

  it("is reviewed once, and accepted at once from then on", async () => {
    const token = await sign();
    expect(await verify(token)).toEqual(READER);
    expect(verifier.verify(token)).toMatchObject({ identity: READER });
    expect(api.reviews).toBe(1);
  });

  it.each<[string, ReviewStatus]>([
    ["does not authenticate it", { authenticated: false }],
    ["says nothing", {}],
    ["names no audience", { authenticated: true, user: { username: SUBJECT } }],
    ["names another audience", { authenticated: true, user: { username: SUBJECT }, audiences: [ISSUER] }],
    ["names a user", { authenticated: true, user: { username: "admin" }, audiences: ["frontcache"] }],
    ["names nobody", { authenticated: true, user: null, audiences: ["frontcache"] }],
  ])("is refused if the API server %s", async (_what, status) => {
    api.status = status;
    expect(await verify(await sign())).toBe("invalid");
  });

  it.each<[string, JWTPayload]>([
    ["is for another audience", { aud: ISSUER }],
    ["has expired", { exp: 900 }],
    ["never expires", { exp: undefined as never }],
    ["is not a ServiceAccount's", { sub: "admin" }],
  ])("is refused without a review if it %s", async (_what, claims) => {
    expect(await verify(await sign(claims))).toBe("invalid");
    expect(api.reviews).toBe(0);
  });

  it("is refused at once if it was refused, without another review", async () => {
    api.status = { authenticated: false };
    const token = await sign();
    expect(await verify(token)).toBe("invalid");
    expect(await verify(token)).toBe("invalid");
    expect(api.reviews).toBe(1);
  });

  it("is reviewed again after two minutes while it is accepted, and refused when the API server no longer accepts it", async () => {
    const token = await sign();
    await verify(token);
    clock.advance(119_999);
    expect(await verify(token)).toEqual(READER);
    expect(api.reviews).toBe(1);
    clock.advance(1);
    api.status = { authenticated: false };
    expect(verifier.verify(token)).toMatchObject({ identity: READER });
    await new Promise((resolve) => setImmediate(resolve));
    expect(api.reviews).toBe(2);
    expect(await verify(token)).toBe("invalid");
  });

  it("is accepted for ten minutes while the API server is down, and then refused until it answers", async () => {
    const token = await sign({ exp: 100_000 });
    await verify(token);
    api.isDown = true;
    clock.advance(599_999);
    expect(await verify(token)).toEqual(READER);
    expect(await verify(await sign({ jti: "another" }))).toBe("unavailable");
    clock.advance(1);
    expect(await verify(token)).toBe("unavailable");
    api.isDown = false;
    expect(await verify(token)).toEqual(READER);
  });

  it("is one of at most 64 that are reviewed concurrently", async () => {
    let answer = (): void => {};
    const answered = new Promise<void>((resolve) => {
      answer = resolve;
    });
    api.review = async () => {
      api.reviews++;
      await answered;
      return api.status;
    };
    const tokens = await Promise.all(Array.from({ length: 65 }, (_, at) => sign({ jti: String(at) })));
    const outcomes = tokens.map(verify);
    await expect.poll(() => api.reviews).toBe(64);
    answer();
    const settled = await Promise.all(outcomes);
    expect(settled.filter((outcome) => outcome === "unavailable")).toHaveLength(1);
  });

  it("is verified by the API server's keys as soon as they are published", async () => {
    expect(await verify(await sign())).toEqual(READER);
    api.mayDiscover = true;
    clock.advance(300_000);
    await new Promise((resolve) => setImmediate(resolve));
    expect(await verify(await sign({ jti: "another" }))).toEqual(READER);
    expect(api.reviews).toBe(1);
  });
});
