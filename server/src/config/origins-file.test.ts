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

describe("a file of origins", () => {
  it("says of every pattern of buckets where it is and how to reach it", () => {
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
        limits: { ...unset, concurrency: 8 },
        hedge: undefined,
      },
      {
        scheme: "gs",
        buckets: [{ scheme: "gs", bucket: "*" }],
        endpoint: undefined,
        credentials: "anonymous",
        userProject: undefined,
        limits: unset,
        hedge: undefined,
      },
    ]);
  });

  it("tells everything that is wrong with it at once, one clause each, with its place", () => {
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
      "f: default: not known here, write origins",
      'f: origins[0].buckets: "s3://a*b" is not a bucket: write s3://name, s3://beginning* or gs://*',
      "f: origins[1].buckets: of two schemes, write one origin for each",
      "f: origins[2].buckets: missing, write s3://name, s3://beginning* or gs://*",
      'f: origins[3].endpoint: "minio:9000" is not an endpoint: write http://host:port or https://host',
      'f: origins[3].region: "Eu West" is not a region: write one as in eu-central-1',
      'f: origins[3].pathStyle: "yes" is not a yes or no: write true or false',
      "f: origins[3].credentials: not known here, write default, anonymous, profile or keys",
      "f: origins[3].keyFile: not known here, write buckets, endpoint, limits, hedge, region, pathStyle, credentials, requesterPays",
      "f: origins[4].credentials.profile: not known here, write keyFile",
      "f: origins[4].credentials: missing, write keyFile",
      "f: origins[4].requesterPays: not known here, write buckets, endpoint, limits, hedge, credentials, userProject",
      "f: origins[5]: not a mapping, write fields with values",
      "f: origins[5].buckets: missing, write s3://name, s3://beginning* or gs://*",
    ]);
  });

  it("refuses wrong limits and keys, and never repeats what may be a secret", () => {
    expect(
      clausesOf(`
origins:
  - buckets: s3://a-bucket
    limits: { requestsPerSecond: 0, bytesPerSecond: lots, concurrency: 1.5, maxWait: soon, requests: 5 }
    credentials: { profile: x, keys: { accessKeyId: AKIA+secret, secretKey: X } }
`),
    ).toEqual([
      'f: origins[0].limits.requestsPerSecond: "0" is not a whole number in range: write one from 1 to 1000000',
      expect.stringContaining('f: origins[0].limits.bytesPerSecond: "lots" is not a size'),
      'f: origins[0].limits.concurrency: "1.5" is not a whole number in range: write one from 1 to 100000',
      expect.stringContaining('f: origins[0].limits.maxWait: "soon" is not a duration'),
      "f: origins[0].limits.requests: not known here, write requestsPerSecond, bytesPerSecond, concurrency, maxWait",
      "f: origins[0].credentials: both profile and keys, write one of them",
      "f: origins[0].credentials.keys.accessKeyId: not the name of an environment variable, write one in capitals",
      "f: origins[0].credentials.keys.secretKey: not known here, write accessKeyId, secretAccessKey, sessionToken",
      "f: origins[0].credentials.keys.secretAccessKey: missing, name the environment variable that holds it",
    ]);
  });

  it("refuses what would never be reached", () => {
    expect(clausesOf("origins: [{buckets: [s3://logs-*]}, {buckets: [s3://logs-2024, gs://logs-2024]}]")).toHaveLength(1);
    expect(clausesOf("origins: [{buckets: s3://logs-*}, {buckets: s3://logs-2024}]")).toEqual([
      "f: origins[1].buckets: s3://logs-2024 is never reached behind s3://logs-*, write it before",
    ]);
    expect(clausesOf("origins: [{buckets: s3://logs-2024}, {buckets: s3://logs-*}, {buckets: gs://logs-2024}]")).toEqual([]);
  });

  it.each(["", "origins:", "origins: []", "origins: s3://bucket", "- s3://bucket", "origins: [{}"])(
    "refuses %j in one line each",
    (content) => {
      const clauses = clausesOf(content);
      expect(clauses.length).toBeGreaterThan(0);
      for (const clause of clauses) expect(clause).toMatch(/^f: .+[^:]$/);
    },
  );

  it("is named where it can't be read", () => {
    expect(() => originsFile.parse("/nowhere/origins.yaml")).toThrow("/nowhere/origins.yaml can't be read (ENOENT)");
    const directory = mkdtempSync(join(tmpdir(), "frontcache-origins-"));
    try {
      const path = join(directory, "origins.yaml");
      writeFileSync(path, "origins: [{buckets: s3://bucket}]");
      expect(originsFile.parse(path)).toHaveLength(1);
      writeFileSync(path, "origins: 5");
      expect(() => originsFile.parse(path)).toThrow(`${path}: origins: not a list`);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
