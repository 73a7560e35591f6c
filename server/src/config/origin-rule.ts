import { type BucketPattern, parseBucketPattern } from "./bucket-pattern.js";
import { certificateFile } from "./certificate-file.js";
import { corsOrigins } from "./cors-origins.js";
import type { MappingReader } from "./mapping-reader.js";
import { bool, line, type Parser, wrong } from "./parser.js";
import { duration, size, whole } from "./quantities.js";

/** Limits for one origin. Undefined: the limit of the settings. */
export interface RuleLimits {
  readonly requestsPerSecond: number | undefined;
  readonly bytesPerSecond: number | undefined;
  readonly concurrency: number | undefined;
  readonly maxWaitMs: number | undefined;
}

/** Names of the environment variables that contain keys. */
export interface KeyVariables {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string | undefined;
}

interface AnyRule {
  /** All of one scheme, at least one. */
  readonly buckets: readonly BucketPattern[];
  /** The name in the store of the only bucket. Undefined: the buckets have the same names there. */
  readonly storeBucket: string | undefined;
  /** `http(s)://host[:port][/prefix]`; undefined: the default of the store. */
  readonly endpoint: string | undefined;
  /** File of certificate authorities (PEM) to trust in addition to Node's. */
  readonly ca: string | undefined;
  readonly limits: RuleLimits;
  readonly hedge: boolean | undefined;
  /** Origins of pages that may read the buckets by CORS. Undefined: those of the settings. */
  readonly corsOrigins: readonly string[] | undefined;
}

export interface S3Rule extends AnyRule {
  readonly scheme: "s3";
  readonly region: string | undefined;
  readonly pathStyle: boolean | undefined;
  readonly credentials: "default" | "anonymous" | { readonly profile: string } | { readonly keys: KeyVariables };
  readonly requesterPays: boolean;
}

export interface GcsRule extends AnyRule {
  readonly scheme: "gs";
  readonly credentials: "default" | "anonymous" | { readonly keyFile: string };
  readonly userProject: string | undefined;
  /** The S3 endpoint serves the buckets, too. */
  readonly atS3Endpoint: boolean;
}

/** One origin of the origins file. */
export type OriginRule = S3Rule | GcsRule;

/** Reads one origin; undefined if its buckets are invalid. All problems are collected. */
export function readOriginRule(rule: MappingReader): OriginRule | undefined {
  const buckets = readBuckets(rule);
  const scheme = buckets[0]?.scheme;
  if (scheme === undefined || scheme === "cache") return undefined;
  if (buckets.some((pattern) => pattern.scheme !== scheme)) rule.note("buckets", "two schemes: use a separate origin for each");
  const any = {
    buckets,
    storeBucket: readStoreBucket(rule, buckets),
    endpoint: rule.parsed("endpoint", httpUrl),
    ca: rule.parsed("ca", certificateFile),
    limits: readLimits(rule),
    hedge: rule.parsed("hedge", bool),
    corsOrigins: rule.parsed("corsOrigins", corsOrigins),
  };
  const read: OriginRule =
    scheme === "s3"
      ? {
          ...any,
          scheme,
          region: rule.parsed("region", region),
          pathStyle: rule.parsed("pathStyle", bool),
          credentials: readS3Credentials(rule),
          requesterPays: rule.parsed("requesterPays", bool) ?? false,
        }
      : {
          ...any,
          scheme,
          credentials: readGcsCredentials(rule),
          userProject: rule.parsed("userProject", line("project")),
          atS3Endpoint: rule.parsed("atS3Endpoint", bool) ?? false,
        };
  rule.end();
  return read;
}

function readBuckets(rule: MappingReader): BucketPattern[] {
  const value = rule.take("buckets");
  const texts: unknown[] = Array.isArray(value) ? value : value === undefined ? [] : [value];
  if (texts.length === 0) rule.note("buckets", "missing: use s3://name, s3://prefix* or gs://*");
  return texts.flatMap((text) => {
    try {
      const pattern = parseBucketPattern(String(text));
      if (pattern.scheme === "cache") rule.note("buckets", `cache://${pattern.bucket} has no origin: use s3:// or gs://`);
      return [pattern];
    } catch (error) {
      rule.note("buckets", (error as Error).message);
      return [];
    }
  });
}

function readStoreBucket(rule: MappingReader, buckets: readonly BucketPattern[]): string | undefined {
  const name = rule.parsed("storeBucket", bucketName);
  const isOne = buckets.length === 1 && !buckets[0]!.bucket.endsWith("*");
  if (name !== undefined && !isOne)
    rule.note("storeBucket", "needs exactly one bucket without *: use a separate origin for each");
  return name;
}

function readLimits(rule: MappingReader): RuleLimits {
  const limits = rule.nested("limits");
  const read = {
    requestsPerSecond: limits?.parsed("requestsPerSecond", whole(1, 1_000_000)),
    bytesPerSecond: limits?.parsed("bytesPerSecond", size(1)),
    concurrency: limits?.parsed("concurrency", whole(1, 100_000)),
    maxWaitMs: limits?.parsed("maxWait", duration(0)),
  };
  limits?.end();
  return read;
}

function readS3Credentials(rule: MappingReader): S3Rule["credentials"] {
  const mapping = readCredentials(rule, "default, anonymous, profile or keys");
  if (typeof mapping === "string") return mapping;
  const profile = mapping.parsed("profile", line("profile"));
  const keys = mapping.nested("keys");
  mapping.end();
  if (profile !== undefined && keys !== undefined) mapping.note("", "both profile and keys: use one of them");
  if (keys === undefined) {
    if (profile === undefined && !mapping.has("profile")) mapping.note("", "missing: use profile or keys");
    return { profile: profile ?? "" };
  }
  const read = {
    accessKeyId: keys.parsed("accessKeyId", variableName),
    secretAccessKey: keys.parsed("secretAccessKey", variableName),
    sessionToken: keys.parsed("sessionToken", variableName),
  };
  keys.end();
  for (const field of ["accessKeyId", "secretAccessKey"] as const) {
    if (!keys.has(field)) keys.note(field, "missing: use the name of the environment variable that contains it");
  }
  return { keys: { ...read, accessKeyId: read.accessKeyId ?? "", secretAccessKey: read.secretAccessKey ?? "" } };
}

function readGcsCredentials(rule: MappingReader): GcsRule["credentials"] {
  const mapping = readCredentials(rule, "default, anonymous or keyFile");
  if (typeof mapping === "string") return mapping;
  const keyFile = mapping.parsed("keyFile", line("path"));
  mapping.end();
  if (!mapping.has("keyFile")) mapping.note("", "missing: use keyFile");
  return { keyFile: keyFile ?? "" };
}

function readCredentials(rule: MappingReader, allowed: string): "default" | "anonymous" | MappingReader {
  const value = rule.take("credentials");
  if (value === undefined || value === "default") return "default";
  if (value === "anonymous") return "anonymous";
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return rule.at("credentials", value);
  // Not quoted: the value may be a secret.
  rule.note("credentials", `unknown value: use ${allowed}`);
  return "default";
}

const bucketName: Parser<string> = {
  unit: "bucket",
  parse(text) {
    if (!/^(?:[A-Za-z0-9_]{0,64}:)?[A-Za-z0-9][A-Za-z0-9._-]{1,220}[A-Za-z0-9]$/.test(text)) {
      throw wrong(text, "a bucket", "its name in the store, without s3:// or gs://");
    }
    return text;
  },
};

const httpUrl: Parser<string> = {
  unit: "URL",
  parse(text) {
    const url = /^https?:\/\/[^\s/?#@]+(?:\/[^\s?#]*)?$/.test(text) && URL.canParse(text);
    if (!url) throw wrong(text, "an endpoint", "http://host:port or https://host");
    return text.replace(/\/+$/, "");
  },
};

const region: Parser<string> = {
  unit: "region",
  parse(text) {
    if (!/^[a-z0-9-]{1,40}$/.test(text)) throw wrong(text, "a region", "a name as in eu-central-1");
    return text;
  },
};

/** In capitals, and never quoted in messages: the value may be the key instead of a variable name. */
const variableName: Parser<string> = {
  unit: "name of an environment variable",
  parse(text) {
    if (!/^[A-Z_][A-Z0-9_]{0,200}$/.test(text))
      throw new Error("is not the name of an environment variable: use capitals, digits and _");
    return text;
  },
};
