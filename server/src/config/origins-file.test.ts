import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Problems } from "./mapping-reader.js";
import { originsFile, parseOrigins } from "./origins-file.js";

function clausesOf(content: string): readonly string[] {
  try {
    parseOrigins(content, "f");
  } catch (error) {
    if (error instanceof Problems) return error.clauses;
    throw error;
  }
  return [];
}

const unset = { requestsPerSecond: undefined, bytesPerSecond: undefined, concurrency: undefined, maxWaitMs: undefined };

describe("an origins file", () => {
  it("configures endpoint and access for every bucket pattern", () => {
    const rules = parseOrigins(
      `
origins:
  - buckets: [s3://lake-*, s3://old]
    endpoint: http://minio:9000/
    region: eu-central-1
    pathStyle: true
    credentials: { keys: { accessKeyId: LAKE_ID, secretAccessKey: LAKE_SECRET } }
    requesterPays: true
    limits: { requestsPerSecond: 500, bytesPerSecond: 200MiB, concurrency: 64, maxWait: 5s }
    hedge: false
  - buckets: s3://*
  - buckets: gs://models
    credentials: { keyFile: /etc/key.json }
    userProject: payer
    atS3Endpoint: true
    limits: { concurrency: 8 }
  - buckets: gs://*
    credentials: anonymous
`,
      "f",
    );
    expect(rules).toEqual([
      {
        scheme: "s3",
        buckets: [
          { scheme: "s3", bucket: "lake-*" },
          { scheme: "s3", bucket: "old" },
        ],
        endpoint: "http://minio:9000",
        region: "eu-central-1",
        pathStyle: true,
        credentials: { keys: { accessKeyId: "LAKE_ID", secretAccessKey: "LAKE_SECRET", sessionToken: undefined } },
        requesterPays: true,
        limits: { requestsPerSecond: 500, bytesPerSecond: 200 << 20, concurrency: 64, maxWaitMs: 5_000 },
        hedge: false,
      },
      {
        scheme: "s3",
        buckets: [{ scheme: "s3", bucket: "*" }],
        endpoint: undefined,
        region: undefined,
        pathStyle: undefined,
        credentials: "default",
        requesterPays: false,
        limits: unset,
        hedge: undefined,
      },
      {
        scheme: "gs",
        buckets: [{ scheme: "gs", bucket: "models" }],
        endpoint: undefined,
        credentials: { keyFile: "/etc/key.json" },
        userProject: "payer",
        atS3Endpoint: true,
        limits: { ...unset, concurrency: 8 },
        hedge: undefined,
      },
      {
        scheme: "gs",
        buckets: [{ scheme: "gs", bucket: "*" }],
        endpoint: undefined,
        credentials: "anonymous",
        userProject: undefined,
        atS3Endpoint: false,
        limits: unset,
        hedge: undefined,
      },
    ]);
  });

  it("names the bucket of the store that one bucket stands for", () => {
    const [rule] = parseOrigins("origins: [{ buckets: s3://lake, storeBucket: acme-prod-lake }]", "f");
    expect(rule).toMatchObject({ buckets: [{ scheme: "s3", bucket: "lake" }], storeBucket: "acme-prod-lake" });
  });

  it.each([
    ["s3://lake-*", "acme", "needs exactly one bucket without *: use a separate origin for each"],
    ["[s3://one, s3://two]", "acme", "needs exactly one bucket without *: use a separate origin for each"],
    ["s3://lake", "s3://acme", '"s3://acme" is not a bucket: use its name in the store, without s3:// or gs://'],
  ])("rejects %s stored as %s", (buckets, storeBucket, problem) => {
    expect(clausesOf(`origins: [{ buckets: ${buckets}, storeBucket: "${storeBucket}" }]`)).toEqual([
      `f: origins[0].storeBucket: ${problem}`,
    ]);
  });

  it("rejects buckets of values, which have no origin", () => {
    expect(clausesOf("origins: [{ buckets: cache://builds }]")).toEqual([
      "f: origins[0].buckets: cache://builds has no origin: use s3:// or gs://",
    ]);
  });

  it("reports all problems together, one clause each, with their place", () => {
    expect(
      clausesOf(`
origins:
  - buckets: s3://a*b
    endpoint: minio:9000
    credentials: { keys: { accessKeyId: AKIA/secret, secretKey: X } }
    limits: { requestsPerSecond: 0, bytesPerSecond: lots, requests: 5 }
  - buckets: [s3://one, gs://two]
  - bucket: s3://three
  - buckets: s3://four
    endpoint: minio:9000
    region: "Eu West"
    pathStyle: "yes"
    credentials: secret
    keyFile: x
  - buckets: gs://five
    requesterPays: true
    credentials: { profile: x }
  - gs://six
default: s3
`),
    ).toEqual([
      "f: default: unknown field: use origins",
      'f: origins[0].buckets: "s3://a*b" is not a bucket: use s3://name, s3://prefix* or gs://*',
      "f: origins[1].buckets: two schemes: use a separate origin for each",
      "f: origins[2].buckets: missing: use s3://name, s3://prefix* or gs://*",
      'f: origins[3].endpoint: "minio:9000" is not an endpoint: use http://host:port or https://host',
      'f: origins[3].region: "Eu West" is not a region: use a name as in eu-central-1',
      'f: origins[3].pathStyle: "yes" is not a boolean: use true or false',
      "f: origins[3].credentials: unknown value: use default, anonymous, profile or keys",
      "f: origins[3].keyFile: unknown field: use buckets, storeBucket, endpoint, ca, limits, hedge, corsOrigins, region, pathStyle, credentials, requesterPays",
      "f: origins[4].credentials.profile: unknown field: use keyFile",
      "f: origins[4].credentials: missing: use keyFile",
      "f: origins[4].requesterPays: unknown field: use buckets, storeBucket, endpoint, ca, limits, hedge, corsOrigins, credentials, userProject, atS3Endpoint",
      "f: origins[5]: is not a mapping: use fields with values",
      "f: origins[5].buckets: missing: use s3://name, s3://prefix* or gs://*",
    ]);
  });

  it("is rejected for invalid limits and keys, without quoting possible secrets", () => {
    expect(
      clausesOf(`
origins:
  - buckets: s3://a-bucket
    limits: { requestsPerSecond: 0, bytesPerSecond: lots, concurrency: 1.5, maxWait: soon, requests: 5 }
    credentials: { profile: x, keys: { accessKeyId: AKIA+secret, secretKey: X } }
`),
    ).toEqual([
      'f: origins[0].limits.requestsPerSecond: "0" is not a whole number in the range: use a number from 1 to 1000000',
      expect.stringContaining('f: origins[0].limits.bytesPerSecond: "lots" is not a size'),
      'f: origins[0].limits.concurrency: "1.5" is not a whole number in the range: use a number from 1 to 100000',
      expect.stringContaining('f: origins[0].limits.maxWait: "soon" is not a duration'),
      "f: origins[0].limits.requests: unknown field: use requestsPerSecond, bytesPerSecond, concurrency, maxWait",
      "f: origins[0].credentials: both profile and keys: use one of them",
      "f: origins[0].credentials.keys.accessKeyId: is not the name of an environment variable: use capitals, digits and _",
      "f: origins[0].credentials.keys.secretKey: unknown field: use accessKeyId, secretAccessKey, sessionToken",
      "f: origins[0].credentials.keys.secretAccessKey: missing: use the name of the environment variable that contains it",
    ]);
  });

  it("is rejected if a rule can never match", () => {
    expect(clausesOf("origins: [{buckets: [s3://logs-*]}, {buckets: [s3://logs-2024, gs://logs-2024]}]")).toHaveLength(1);
    expect(clausesOf("origins: [{buckets: s3://logs-*}, {buckets: s3://logs-2024}]")).toEqual([
      "f: origins[1].buckets: s3://logs-2024 never matches because s3://logs-* comes first: move it up",
    ]);
    expect(clausesOf("origins: [{buckets: s3://logs-2024}, {buckets: s3://logs-*}, {buckets: gs://logs-2024}]")).toEqual([]);
  });

  it.each(["", "origins:", "origins: []", "origins: s3://bucket", "- s3://bucket", "origins: [{}"])(
    "is rejected in one line for %j",
    (content) => {
      const clauses = clausesOf(content);
      expect(clauses.length).toBeGreaterThan(0);
      for (const clause of clauses) expect(clause).toMatch(/^f: .+[^:]$/);
    },
  );

  it("is named in the error if it cannot be read", () => {
    expect(() => originsFile.parse("/nowhere/origins.yaml")).toThrow("/nowhere/origins.yaml cannot be read (ENOENT)");
    const directory = mkdtempSync(join(tmpdir(), "frontcache-origins-"));
    try {
      const path = join(directory, "origins.yaml");
      writeFileSync(path, "origins: [{buckets: s3://bucket}]");
      expect(originsFile.parse(path)).toHaveLength(1);
      writeFileSync(path, "origins: 5");
      expect(() => originsFile.parse(path)).toThrow(`${path}: origins: is not a list`);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
