import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { MappingReader } from "./mapping-reader.js";
import { readTokenIssuers, type TokenIssuerRules } from "./token-issuers.js";

function read(text: string): { readonly rules: TokenIssuerRules; readonly problems: string[] } {
  const problems: string[] = [];
  const file = new MappingReader(parse(text) ?? {}, "", problems);
  const rules = readTokenIssuers(file);
  file.end();
  return { rules, problems };
}

describe("the issuers of tokens in the identities file", () => {
  it("are none by default", () => {
    expect(read("")).toEqual({ rules: { oidc: [], kubernetes: undefined }, problems: [] });
  });

  it("have defaults", () => {
    expect(read("kubernetes: {}\nissuers: [{ issuer: https://a.example/b }]")).toEqual({
      problems: [],
      rules: {
        kubernetes: { audiences: ["frontcache"] },
        oidc: [
          {
            issuer: "https://a.example/b",
            audiences: ["frontcache"],
            ca: undefined,
            nameClaim: "sub",
            namePrefix: "https://a.example/b#",
            groupsClaim: undefined,
            groupsPrefix: "https://a.example/b#",
          },
        ],
      },
    });
  });

  it("are read with all their fields", () => {
    const directory = mkdtempSync(join(tmpdir(), "frontcache-issuers-"));
    try {
      const ca = join(directory, "ca.pem");
      writeFileSync(ca, "-----BEGIN CERTIFICATE-----\n");
      const text = `
kubernetes: { audience: [cache, https://kubernetes.default.svc] }
issuers:
  - { issuer: "http://127.0.0.1:9000", audience: a, ca: ${ca}, nameClaim: email, namePrefix: "", groupsClaim: roles, groupsPrefix: "x:" }`;
      expect(read(text)).toEqual({
        problems: [],
        rules: {
          kubernetes: { audiences: ["cache", "https://kubernetes.default.svc"] },
          oidc: [
            {
              issuer: "http://127.0.0.1:9000",
              audiences: ["a"],
              ca,
              nameClaim: "email",
              namePrefix: "",
              groupsClaim: "roles",
              groupsPrefix: "x:",
            },
          ],
        },
      });
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it.each([
    ["issuers: https://a.example", "issuers: is not a list of at most 20 issuers: use - issuer: https://..."],
    ["issuers: [{}]", "issuers[0].issuer: missing"],
    ["issuers: [{ issuer: http://a.example }]", "issuers[0].issuer:"],
    ["issuers: [{ issuer: https://user:password@a.example }]", "issuers[0].issuer:"],
    ["issuers: [{ issuer: https://a.example, audience: [] }]", "issuers[0].audience:"],
    ["issuers: [{ issuer: https://a.example, audience: [1] }]", "issuers[0].audience:"],
    ["issuers: [{ issuer: https://a.example, ca: /missing.pem }]", "issuers[0].ca: /missing.pem cannot be read (ENOENT)"],
    ["issuers: [{ issuer: https://a.example, secret: x }]", "issuers[0].secret: unknown field"],
    [
      "issuers: [{ issuer: https://a.example }, { issuer: https://a.example }]",
      "issuers[1].issuer: the same issuer comes before",
    ],
    ["kubernetes: true", "kubernetes: is not a mapping"],
    ["kubernetes: { audience: with space }", "kubernetes.audience:"],
    ["kubernetes: { audiences: x }", "kubernetes.audiences: unknown field: use audience"],
  ])("are refused as %s", (text, problem) => {
    const { problems } = read(text);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(problem);
  });
});
