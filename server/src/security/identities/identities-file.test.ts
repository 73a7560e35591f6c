import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import type { Problems } from "../../config/mapping-reader.js";
import { originAccesses } from "../origin-access.js";
import { ANONYMOUS, CACHE_ITSELF, clientPrincipal, memberPrincipal, type Principal } from "../principal.js";
import { type Identities, parseIdentities } from "./identities-file.js";
import { IdentityTokenAuthenticator } from "./identity-tokens.js";

const TOKEN = "a-token-of-ada";
const HASH = createHash("sha256").update(TOKEN).digest("hex");

const FILE = `
identities:
  - name: ada
    accessKeys:
      - { id: AKIAADA, secret: a-secret-of-an-access-key }
      - { id: ASIAADA, secret: a-secret-of-an-access-key, sessionToken: abc }
    tokens: [${HASH}]
    certificates: ["URI:spiffe://cluster/ada", "CN=ada"]
    groups: [readers, "team a"]
  - name: bob
grants:
  - { to: [ada, team-*], operations: [read, list], buckets: [s3://lake-*, gs://lake], prefixes: [a/, b/c] }
  - { to: "group:read*", operations: read, buckets: s3://shared }
  - { to: anonymous, operations: read, buckets: s3://open }
  - { to: "*", operations: status }
`;

const as = (name: string, ...groups: string[]): Principal => clientPrincipal(name, "token", groups);

function allows(
  { grants }: Identities,
  principal: Principal,
  operation: "read" | "list" | "evict",
  bucket: string,
  prefix: string,
): boolean {
  return grants.allowing(principal, operation, { bucket: { scheme: "s3", bucket }, prefix }) !== undefined;
}

function problemsOf(text: string): readonly string[] {
  try {
    parseIdentities(text);
    return [];
  } catch (error) {
    return (error as Problems).clauses;
  }
}

describe("an identities file", () => {
  const identities = parseIdentities(FILE);

  it("names identities with their credentials", () => {
    expect(
      [...identities.accessKeys.values()].map(({ accessKeyId: id, sessionToken, authenticated }) => [
        id,
        sessionToken,
        authenticated.principal.name,
      ]),
    ).toEqual([
      ["AKIAADA", undefined, "ada"],
      ["ASIAADA", "abc", "ada"],
    ]);
    expect([...identities.certificates.keys()]).toEqual(["URI:spiffe://cluster/ada", "CN=ada"]);
    const authenticator = new IdentityTokenAuthenticator({ current: identities, revision: 0 });
    const by = (token: string) => authenticator.authenticate({ headers: { authorization: `Bearer ${token}` } });
    expect(by(TOKEN)).toEqual({
      principal: clientPrincipal("ada", "token", ["readers", "team a"]),
      untilMs: Number.POSITIVE_INFINITY,
    });
    expect([by(`${TOKEN}x`), by(HASH)]).toEqual([undefined, undefined]);
  });

  it("grants operations on buckets and beginnings of keys, by names, prefixes of names and groups", () => {
    expect(allows(identities, as("ada"), "read", "lake-1", "a/key")).toBe(true);
    expect(allows(identities, as("team-x"), "list", "lake-1", "b/c")).toBe(true);
    expect(allows(identities, as("x", "readers"), "read", "shared", "")).toBe(true);
    expect(allows(identities, ANONYMOUS, "read", "open", "key")).toBe(true);
    for (const [principal, operation, bucket, prefix] of [
      [as("ada"), "read", "lake-1", "a"],
      [as("ada"), "read", "lake-1", "A/key"],
      [as("ada"), "read", "lake", "a/key"],
      [as("ada"), "evict", "lake-1", "a/key"],
      [as("adam"), "read", "lake-1", "a/key"],
      [as("readers"), "read", "shared", ""],
      [as("x", "unread"), "read", "shared", ""],
      [as("anonymous"), "read", "open", "key"],
      [ANONYMOUS, "read", "shared", ""],
    ] as const)
      expect([principal.name, operation, bucket, prefix, allows(identities, principal, operation, bucket, prefix)]).toEqual([
        ...[principal.name, operation, bucket, prefix],
        false,
      ]);
  });

  it("does not mean the anonymous principal by any pattern", () => {
    expect([
      identities.grants.allowingCluster(as("x"), "status"),
      identities.grants.allowingCluster(ANONYMOUS, "status"),
    ]).toEqual([expect.anything(), undefined]);
  });

  it("gives principals of any kind credentials at origins, the first that covers a bucket", () => {
    const pod = "system:serviceaccount:jobs:reader";
    const { originAccess } = parseIdentities(`
identities:
  - name: ada
    origin:
      - { buckets: s3://lake, accessKeyId: AKIALAKE, secretAccessKey: secret }
      - { accessKeyId: AKIAREST, secretAccessKey: secret }
  - { name: "${pod}", origin: { unsigned: true } }
  - { name: anonymous, origin: unsigned }
grants: []`);
    const accesses = originAccesses(() => originAccess);
    const of = (principal: Principal, bucket: string) => {
      const credentials = accesses.of(principal, { url: `s3://${bucket}`, scheme: "s3", bucket })?.credentials;
      return typeof credentials === "object" ? credentials.accessKeyId : credentials;
    };
    expect([of(as("ada"), "lake"), of(as("ada"), "sea"), of(as("bob"), "lake")]).toEqual(["AKIALAKE", "AKIAREST", undefined]);
    expect([of(as(pod), "lake"), of(ANONYMOUS, "lake"), of(as("anonymous"), "lake")]).toEqual([
      "unsigned",
      "unsigned",
      undefined,
    ]);
    expect([of(CACHE_ITSELF, "lake"), of(memberPrincipal("ada"), "lake")]).toEqual([undefined, undefined]);
    expect(accesses.of(as("ada"), { url: "gs://lake", scheme: "gs", bucket: "lake" })).toBeUndefined();
  });

  it("may grant nothing, and then denies everything", () => {
    for (const text of ["grants: []", "identities: []\ngrants: []"]) {
      const { grants, accessKeys } = parseIdentities(text);
      expect([grants.of(as("ada")).length, accessKeys.size]).toEqual([0, 0]);
    }
  });

  it.each([
    ["identities: 1", "identities: is not a list"],
    ["identities: [1]", "identities[0]: is not a mapping"],
    ["identities: [{}]", "identities[0].name: missing"],
    ['identities: [{ name: "a:b" }]', '"a:b" is invalid'],
    ["identities: [{ name: anonymous }]", "is reserved"],
    ["identities: [{ name: a }, { name: a }]", "another identity has the same name"],
    [`identities: [{ name: a, tokens: ${HASH} }, { name: b, tokens: ${HASH} }]`, "another identity has the same"],
    ["identities: [{ name: a, accessKeys: [{ id: AKIA, secret: short }] }]", "accessKeys[0].secret: a value is invalid"],
    ["identities: [{ name: a, accessKeys: [{ id: AKIA }] }]", "accessKeys[0].secret: missing"],
    ["identities: [{ name: a, certificates: ada }]", "use CN=name"],
    ["identities: [{ name: a, password: x }]", "password: unknown field"],
    ["grants: [{ to: a, operations: read }]", "grants[0].buckets: missing"],
    ["grants: [{ to: a, operations: fly, buckets: s3://a }]", '"fly" is unknown'],
    ["grants: [{ to: a, operations: read, buckets: lake }]", "is not a bucket"],
    ["grants: [{ to: a, operations: read, buckets: s3://lake, prefixes: [] }]", "prefixes: is empty"],
    ["grants: [{ operations: read, buckets: s3://lake }]", "grants[0].to: missing"],
    ["identities: [{ name: anonymous, tokens: [], origin: unsigned }]", "is reserved"],
    ['identities: [{ name: "a:b", groups: [x], origin: unsigned }]', '"a:b" is invalid'],
    ["identities: [{ name: a, origin: [] }]", "origin: is not a list"],
    ["identities: [{ name: a, origin: signed }]", "origin: is not a mapping"],
    ["identities: [{ name: a, origin: { accessKeyId: AKIA } }]", "origin.secretAccessKey: missing"],
    ["identities: [{ name: a, origin: [{ buckets: gs://lake, unsigned: true }] }]", "origin[0].buckets"],
    ["identities: [{ name: a, origin: { unsigned: true, accessKeyId: AKIA } }]", "accessKeyId: unknown field"],
    ["users: []", "users: unknown field"],
    ["", "grants: missing"],
    ["identities: []", "grants: missing"],
    ["identities:\n  - name: a\n  bad", "not valid YAML"],
    [`identities: [{ name: a, tokens: *${TOKEN} }]`, "not valid YAML"],
  ])("is refused as a whole if it is %j", (text, problem) => {
    expect(problemsOf(text).join("; ")).toContain(problem);
  });

  it("is refused without quoting a secret", () => {
    const secrets = ["hunter2", "*hunter2", "hunter2: {", "hunter2\nhunter2: 'hunter2"];
    for (const secret of secrets) {
      for (const text of [
        `identities: [{ name: a, accessKeys: [{ id: AKIA, secret: ${secret} }] }]`,
        `identities: [{ name: a, tokens: [${secret}] }]`,
        `identities:\n  - name: a\n    accessKeys:\n      - id: AKIA\n        sessionToken: ${secret} \u00fc\n`,
      ]) {
        const problems = problemsOf(text);
        expect(problems).not.toEqual([]);
        expect(problems.join()).not.toContain("hunter2");
      }
    }
  });
});
